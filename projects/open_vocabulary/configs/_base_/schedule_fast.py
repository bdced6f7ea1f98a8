"""Fast: 15 epochs, for a first look and for small sets."""
_base_ = './schedule_full.py'
max_epochs = 15
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=5e-4, pct_start=0.1, total_steps=max_epochs, by_epoch=True,
         convert_to_iter_based=True),
]
