"""Classifiers of listed images from pretrained weights on a few CPU cores: csv_finetune.py at higher rates, shorter.

For small networks. 16 epochs in batches of 32: 1e-3 for the backbone, 2e-3 for the head.
"""
_base_ = './csv_finetune.py'
max_epochs = 16
train_cfg = dict(max_epochs=max_epochs, val_interval=4)
optim_wrapper = dict(
    optimizer=dict(lr=1e-3), paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=2.0), attention=dict(lr_mult=2.0))))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, begin=0, end=max_epochs, convert_to_iter_based=True),
]
