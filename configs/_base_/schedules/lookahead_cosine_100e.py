"""The schedule of adamw_cosine_100e.py with Lookahead (6 steps, half the way) around AdamW."""
_base_ = './adamw_cosine_100e.py'
optim_wrapper = dict(
    optimizer=dict(
        _delete_=True, type='cxrdet.Lookahead', inner=dict(type='AdamW'), k=6, alpha=0.5, lr=1e-4, weight_decay=0.05))
