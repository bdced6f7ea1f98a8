"""Small crops of stained cells, listed in a CSV, as networks from random weights learn them best on a few CPU cores.

64 px; the colours as L*a*b*, in which a small difference of stain is a large number; CutMix; and a frame that tells how
large the crop was, from 1 to 512 px, so that a crop of usual size has a frame near the mean lightness, not a dark one.
"""
_base_ = './csv_images.py'
img_size = 64

data_preprocessor = dict(
    _delete_=True,
    type='cxrdet.LabDataPreprocessor',
    mean=[78., -2., -8.],  # L, a, b of bright-field images
    std=[22., 9., 10.],
    batch_augments=dict(augments=[dict(type='CutMix', alpha=1.0)], probs=[0.7]))

load_pipeline = [
    dict(type='cxrdet.LoadImage', cache=True),
    dict(type='Resize', scale=img_size, backend='pillow', interpolation='bicubic'),
]
size_frame = dict(type='cxrdet.SizeFrame', low=1, high=512, width=1 / 32)
train_pipeline = [
    *load_pipeline,
    dict(type='RandomResizedCrop', scale=img_size, crop_ratio_range=(0.5, 1.0)),
    dict(type='Albumentations', transforms=[dict(type='D4', p=1.0)]),
    dict(size_frame, jitter=0.15),
    dict(type='PackInputs'),
]
val_pipeline = [*load_pipeline, size_frame, dict(type='PackInputs', meta_keys={{_base_.meta_keys}})]
tta_pipeline = [*load_pipeline, size_frame, {{_base_.tta_views}}]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
