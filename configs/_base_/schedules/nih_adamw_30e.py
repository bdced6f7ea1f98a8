"""The schedule of adamw_1e-4_cosine_100e.py in 30 epochs, for multi-label classifiers in batches of 32 in all.

Every part of the model ends at a hundredth of its own rate, so that rates by depth keep their proportions.
"""
_base_ = './adamw_1e-4_cosine_100e.py'
max_epochs = 30
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(clip_grad=dict(max_norm=5))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(
        type='CosineAnnealingLR', eta_min_ratio=0.01, by_epoch=True, begin=0, end=max_epochs,
        convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=32)
