"""Classifiers of listed images from pretrained weights: AdamW, 1e-4 for the backbone, 1e-3 for what is new, decay 1e-2.

New are the head and the attention. 30 epochs at most, in batches of 32; cosine after 100 steps of warm-up.
"""
_base_ = './csv_cpu.py'
max_epochs = 30
lr = 1e-4
weight_decay = 1e-2

train_cfg = dict(max_epochs=max_epochs, val_interval=1)
optim_wrapper = dict(
    optimizer=dict(lr=lr, weight_decay=weight_decay),
    paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=10.0), attention=dict(lr_mult=10.0))))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, begin=0, end=max_epochs, convert_to_iter_based=True),
]
schedule_shortcuts = dict(head_lr_mult=[
    f'optim_wrapper.paramwise_cfg.custom_keys.{part}.lr_mult' for part in ('head', 'attention')])
