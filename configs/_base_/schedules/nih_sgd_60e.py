"""Multi-label classifiers on a GPU: SGD 0.01 with momentum and L2 1e-4, cosine over 60 epochs; for batches of 32."""
max_epochs = 60
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='cxrdet.ValLossLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4, fused=True),
    clip_grad=dict(max_norm=5, norm_type=2))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=0, end=max_epochs, convert_to_iter_based=True),
]
auto_scale_lr = dict(enable=False, base_batch_size=32)

# One name on the command line for what stands in several places: --cfg-options max_epochs=10
schedule_shortcuts = dict(
    max_epochs=['train_cfg.max_epochs', 'param_scheduler.1.end'], lr=['optim_wrapper.optimizer.lr'])
