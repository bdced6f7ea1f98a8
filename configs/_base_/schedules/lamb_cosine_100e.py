"""The schedule of adamw_1e-3_cosine_100e.py with LAMB, weight decay 0.01, for large batches."""
_base_ = './adamw_1e-3_cosine_100e.py'
optim_wrapper = dict(optimizer=dict(_delete_=True, type='mmpretrain.Lamb', lr=1e-3, weight_decay=0.01))
