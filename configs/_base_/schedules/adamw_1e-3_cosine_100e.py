"""AdamW 1e-3 (betas 0.9, 0.999), weight decay 1e-4, 500 warm-up steps, cosine to 1e-6 over 100 epochs.

The rate is for batches of 8 images in all.
"""
max_epochs = 100
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='cxrdet.ValLossLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-4),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0.),
    clip_grad=dict(max_norm=35, norm_type=2))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, begin=0, end=max_epochs, convert_to_iter_based=True),
]
auto_scale_lr = dict(enable=False, base_batch_size=8)

# One name on the command line for what stands in several places: --cfg-options max_epochs=10
schedule_shortcuts = dict(
    max_epochs=['train_cfg.max_epochs', 'param_scheduler.1.end'], lr=['optim_wrapper.optimizer.lr'])
