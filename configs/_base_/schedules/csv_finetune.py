"""Classifiers of listed images from pretrained weights: AdamW 1e-4 for the backbone, 1e-3 for the head, decay 1e-2."""
_base_ = './csv_cpu.py'
max_epochs = 30
lr = 1e-4
weight_decay = 1e-2

train_cfg = dict(max_epochs=max_epochs, val_interval=1)
optim_wrapper = dict(
    optimizer=dict(lr=lr, weight_decay=weight_decay),
    paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=10.0))))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, begin=0, end=max_epochs, convert_to_iter_based=True),
]
