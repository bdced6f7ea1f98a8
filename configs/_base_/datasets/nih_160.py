"""NIH ChestX-ray14 at 160 px, otherwise as in nih_128.py."""
_base_ = './nih_128.py'

train_pipeline = [
    dict(type='cxrdet.LoadImage', cache=True),
    dict(type='Resize', scale=160, interpolation='area'),
    dict(type='cxrdet.ChestAugment', hflip=True),
    dict(type='PackInputs', meta_keys={{_base_.meta_keys}}),
]
val_pipeline = [
    dict(type='cxrdet.LoadImage', cache=True),
    dict(type='Resize', scale=160, interpolation='area'),
    dict(type='PackInputs', meta_keys={{_base_.meta_keys}}),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=val_pipeline))
