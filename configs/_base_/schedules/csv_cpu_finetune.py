"""Classifiers of listed images from pretrained weights on a few CPU cores: csv_finetune.py at higher rates.

For small networks. 30 epochs in batches of 32: 1e-3 for the backbone, 2e-3 for the head.
"""
_base_ = './csv_finetune.py'
train_cfg = dict(val_interval=5)
optim_wrapper = dict(
    optimizer=dict(lr=1e-3), paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=2.0), attention=dict(lr_mult=2.0))))
