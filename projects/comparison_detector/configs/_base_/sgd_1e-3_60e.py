"""The published schedule: SGD 1e-3, gradients clipped at 5, 60 epochs with drops to a tenth after 35 and 50.

The weights of the distance are stored times 49 * 16, and SGD moves a stored weight as much less: hence the factor.
"""
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=60, val_interval=5)
val_cfg = dict(type='cxrdet.ValLossLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'fc_cls.scale': dict(lr_mult=49. * 16)}),
    clip_grad=dict(max_norm=5, norm_type=2))
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[35, 50], gamma=0.1)]
auto_scale_lr = dict(enable=False, base_batch_size=1)
