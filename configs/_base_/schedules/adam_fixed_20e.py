"""Adam at a fixed 1e-3 over 20 epochs, neither warm-up nor decay: the old recipe, for batches of 2 images in all."""
max_epochs = 20
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='cxrdet.ValLossLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3), clip_grad=dict(max_norm=35, norm_type=2))
param_scheduler = [dict(type='ConstantLR', factor=1.0, by_epoch=True, begin=0, end=max_epochs)]
auto_scale_lr = dict(enable=False, base_batch_size=2)

# One name on the command line for what stands in several places: --cfg-options max_epochs=10
schedule_shortcuts = dict(
    max_epochs=['train_cfg.max_epochs', 'param_scheduler.0.end'], lr=['optim_wrapper.optimizer.lr'])
