"""The narrow DenseNet at 128 px on NIH ChestX-ray14 with CLAHE, denoising, sharpening and a z-score per film.
Run: cxrdet train densenet_tiny_preprocessed_nih_128 --data-root data/nih
"""
_base_ = './densenet_tiny_nih_128.py'
clean = [dict(type='cxrdet.CLAHE'), dict(type='cxrdet.Denoise'), dict(type='cxrdet.Sharpen')]
load = [
    dict(type='cxrdet.LoadImage', cache=True, transforms=clean),
    dict(type='Resize', scale=128, interpolation='area')
]
pack = [dict(type='cxrdet.ZScore'), dict(type='PackInputs', meta_keys={{_base_.meta_keys}})]
train_pipeline = [*load, dict(type='cxrdet.ChestAugment', hflip=True), *pack]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=[*load, *pack]))
test_dataloader = dict(dataset=dict(pipeline=[*load, *pack]))
data_preprocessor = dict(mean=[0, 0, 0], std=[1, 1, 1])
