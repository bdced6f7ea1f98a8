"""NIH ChestX-ray14 at 160 px, contrast of the films equalised by CLAHE."""
_base_ = './nih_160.py'
load = [
    dict(type='cxrdet.LoadImage', cache=True, transforms=[dict(type='cxrdet.CLAHE')]),
    dict(type='Resize', scale=160, interpolation='area'),
]
pack = dict(type='PackInputs', meta_keys={{_base_.meta_keys}})
train_dataloader = dict(dataset=dict(pipeline=[*load, dict(type='cxrdet.ChestAugment', hflip=True), pack]))
val_dataloader = dict(dataset=dict(pipeline=[*load, pack]))
test_dataloader = dict(dataset=dict(pipeline=[*load, pack]))
