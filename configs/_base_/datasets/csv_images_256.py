"""The images of csv_images.py at 256 px, three of five batches mixed, to fine-tune small networks on CPUs."""
_base_ = './csv_images.py'
img_size = 256

data_preprocessor = dict(batch_augments=dict(
    augments=[dict(type='CutMix', alpha=1.0), dict(type='Mixup', alpha=0.4)], probs=[0.3, 0.3]))

load_pipeline = [
    dict(type='cxrdet.LoadImage', cache=True),
    dict(type='Resize', scale=img_size, backend='pillow', interpolation='bicubic'),
]
train_pipeline = [
    *load_pipeline,
    dict(type='RandomResizedCrop', scale=img_size, crop_ratio_range=(0.5, 1.0)),
    dict(type='Albumentations', transforms=[dict(type='D4', p=1.0)]),
    dict(type='PackInputs'),
]
val_pipeline = [*load_pipeline, dict(type='PackInputs', meta_keys={{_base_.meta_keys}})]
tta_pipeline = [*load_pipeline, {{_base_.tta_views}}]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
