"""Detectors from pretrained weights on a few CPU cores: the schedule of cpu_24e.py in 12 epochs of batches of two.

The pretrained backbone has 0.3 of the rate of what is new.
"""
_base_ = './cpu_24e.py'
max_epochs = 12
train_cfg = dict(max_epochs=max_epochs, val_interval=3)
optim_wrapper = dict(
    optimizer=dict(lr=1.4e-3), paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.3))))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, begin=0, end=max_epochs, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=2)
schedule_shortcuts = dict(backbone_lr_mult=['optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult'])
