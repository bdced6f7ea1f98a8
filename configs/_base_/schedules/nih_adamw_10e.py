"""Multi-label classifiers by an old project's recipe: AdamW 1e-4, decay 1e-6, 10 epochs at one rate, batches of 32."""
max_epochs = 10
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='cxrdet.ValLossLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-6))
param_scheduler = [dict(type='ConstantLR', factor=1.0, by_epoch=True, begin=0, end=max_epochs)]
auto_scale_lr = dict(enable=False, base_batch_size=32)

# One name on the command line for what stands in several places: --cfg-options max_epochs=20
schedule_shortcuts = dict(
    max_epochs=['train_cfg.max_epochs', 'param_scheduler.0.end'], lr=['optim_wrapper.optimizer.lr'])
