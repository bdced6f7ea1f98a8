"""The hybrid on listed images with half the rates and more dropout: 15 epochs, backbone 5e-5, new parts 5e-4.
Run: cxrdet train resnet18_hybrid_csv_tuned --data-root data/crops
"""
_base_ = '../../resnet18_hybrid_csv.py'
max_epochs = 15
model = dict(head=dict(dropout=0.15))
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=5e-5))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, begin=0, end=max_epochs, convert_to_iter_based=True),
]
default_hooks = dict(early_stopping=dict(patience=7))
