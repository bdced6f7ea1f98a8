"""Full: 30 epochs of AdamW, one cycle up to 5e-4 in the first tenth and down along a cosine, mixed precision if native.

The backbone has a tenth of the rate. auto_scale_lr lets the rate follow the batch: --auto-scale-lr.
"""
max_epochs = 30
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='cxrdet.MixedPrecisionOptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05, fused=True),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0., custom_keys=dict(backbone=dict(lr_mult=0.1))),
    clip_grad=dict(max_norm=1, norm_type=2))
param_scheduler = [
    dict(type='OneCycleLR', eta_max=5e-4, pct_start=0.1, total_steps=max_epochs, by_epoch=True,
         convert_to_iter_based=True),
]
auto_scale_lr = dict(enable=False, base_batch_size=16)
schedule_shortcuts = dict(
    max_epochs=['train_cfg.max_epochs', 'param_scheduler.0.total_steps'], lr=['param_scheduler.0.eta_max'],
    backbone_lr_mult=['optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult'])
