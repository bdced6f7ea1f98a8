"""Classifiers of listed images from random weights on a few CPU cores: AdamW, mixed precision if native, cosine.

The learning rate is for batches of 32. The head may have a rate of its own (see csv_finetune.py).
"""
max_epochs = 160
lr = 1e-3
weight_decay = 0.1

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=8)
val_cfg = dict(type='cxrdet.ValLossLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='cxrdet.MixedPrecisionOptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, weight_decay=weight_decay, fused=True),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0., custom_keys=dict(head=dict(lr_mult=1.0))),
    clip_grad=dict(max_norm=5, norm_type=2))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=64),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, begin=0, end=max_epochs, convert_to_iter_based=True),
]
auto_scale_lr = dict(enable=False, base_batch_size=32)

# One name on the command line for what stands in several places, or deep: --cfg-options max_epochs=10 lr=1e-4
schedule_shortcuts = dict(
    max_epochs=['train_cfg.max_epochs', 'param_scheduler.1.end'],
    lr=['optim_wrapper.optimizer.lr'],
    weight_decay=['optim_wrapper.optimizer.weight_decay'],
    head_lr_mult=['optim_wrapper.paramwise_cfg.custom_keys.head.lr_mult'])
