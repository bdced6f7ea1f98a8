"""The hybrid on listed images from random weights: 30 epochs, 1e-3 for all parts.
Run: cxrdet train resnet18_hybrid_csv_scratch --data-root data/crops
"""
_base_ = '../../resnet18_hybrid_csv.py'
model = dict(backbone=dict(init_cfg=None))
optim_wrapper = dict(
    optimizer=dict(lr=1e-3), paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=1.0), attention=dict(lr_mult=1.0))))
