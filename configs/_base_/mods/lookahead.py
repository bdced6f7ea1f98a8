"""Lookahead (6 steps, half the way) around the recipe's own optimizer. Any recipe."""
lookahead = dict(optimizer_around=dict(type='cxrdet.Lookahead', k=6, alpha=0.5))
