"""NIH ChestX-ray14 at 128 px, for small models on a CPU; decoded films are kept in memory (112,120 would not fit)."""
_base_ = './nih_224.py'

train_pipeline = [
    dict(type='cxrdet.LoadImage', cache=True),
    dict(type='Resize', scale=128, interpolation='area'),
    dict(type='cxrdet.ChestAugment', hflip=True),
    dict(type='PackInputs', meta_keys={{_base_.meta_keys}}),
]
val_pipeline = [
    dict(type='cxrdet.LoadImage', cache=True),
    dict(type='Resize', scale=128, interpolation='area'),
    dict(type='PackInputs', meta_keys={{_base_.meta_keys}}),
]
train_dataloader = dict(batch_size=32, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(num_workers=1, dataset=dict(pipeline=val_pipeline))
