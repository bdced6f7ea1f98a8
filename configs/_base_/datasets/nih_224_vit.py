"""NIH ChestX-ray14 at 224 px for vision transformers, which want more variety: films are turned by up to 20 degrees."""
_base_ = './nih_224.py'

train_pipeline = [
    dict(type='cxrdet.LoadImage'),
    dict(type='Resize', scale=224, interpolation='area'),
    dict(type='cxrdet.ChestAugment', hflip=True, rotation=20),
    dict(type='PackInputs', meta_keys={{_base_.meta_keys}}),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
