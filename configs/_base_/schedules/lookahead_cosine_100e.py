"""The schedule of adamw_1e-3_cosine_100e.py with Lookahead (6 steps, half the way) around that AdamW."""
_base_ = './adamw_1e-3_cosine_100e.py'
optim_wrapper = dict(
    optimizer=dict(
        _delete_=True, type='cxrdet.Lookahead', inner=dict(type='AdamW'), k=6, alpha=0.5, lr=1e-3,
        weight_decay=1e-4))
