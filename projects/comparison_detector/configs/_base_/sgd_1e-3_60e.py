"""The published schedule: SGD 1e-3, gradients clipped at 5, 60 epochs with drops to a tenth after 35 and 50."""
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=60, val_interval=5)
val_cfg = dict(type='cxrdet.ValLossLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=5, norm_type=2))
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[35, 50], gamma=0.1)]
auto_scale_lr = dict(enable=False, base_batch_size=1)
