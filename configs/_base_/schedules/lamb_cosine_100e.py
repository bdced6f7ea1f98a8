"""The schedule of adamw_cosine_100e.py with LAMB at 0.01, for large batches."""
_base_ = './adamw_cosine_100e.py'
optim_wrapper = dict(optimizer=dict(_delete_=True, type='mmpretrain.Lamb', lr=0.01, weight_decay=1e-4))
