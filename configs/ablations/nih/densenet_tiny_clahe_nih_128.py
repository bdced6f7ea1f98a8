"""The narrow DenseNet at 128 px on NIH ChestX-ray14, contrast of the films equalised by CLAHE.
Run: cxrdet train densenet_tiny_clahe_nih_128 --data-root data/nih
"""
_base_ = './densenet_tiny_nih_128.py'
load = [
    dict(type='cxrdet.LoadImage', cache=True, transforms=[dict(type='cxrdet.CLAHE')]),
    dict(type='Resize', scale=128, interpolation='area')
]
pack = dict(type='PackInputs', meta_keys={{_base_.meta_keys}})
train_pipeline = [*load, dict(type='cxrdet.ChestAugment', hflip=True), pack]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=[*load, pack]))
test_dataloader = dict(dataset=dict(pipeline=[*load, pack]))
