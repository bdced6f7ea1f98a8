"""Lookahead (6 steps, half the way) around AdamW, at the recipe's own rate and decay. Recipes trained by AdamW."""
lookahead = dict(optim_wrapper=dict(optimizer=dict(type='cxrdet.Lookahead', inner=dict(type='AdamW'), k=6, alpha=0.5)))
