"""The schedule of adamw_1e-3_cosine_100e.py in 12 epochs of batches of two, for BCCD on a few CPU cores.

These are 1,236 steps, 100 of them the warm-up. Mixed precision if native.
"""
_base_ = './adamw_1e-3_cosine_100e.py'
max_epochs = 12
train_cfg = dict(max_epochs=max_epochs, val_interval=4)
optim_wrapper = dict(type='cxrdet.MixedPrecisionOptimWrapper')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, begin=0, end=max_epochs, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=2)
