"""The images of csv_images.py at 256 px, three of five batches mixed, to fine-tune small networks on CPUs.

Measured at 288 px, since objects look larger in the random crops of the training than in whole images: 1.17 times on
average (Touvron et al., Fixing the train-test resolution discrepancy, NeurIPS 2019). --cfg-options img_size=128 sets
both sizes; img_size=128 test_size=144 each of them.
"""
_base_ = './csv_images.py'
img_size, test_size = 256, 288

data_preprocessor = dict(batch_augments=dict(
    augments=[dict(type='CutMix', alpha=1.0), dict(type='Mixup', alpha=0.4)], probs=[0.3, 0.3]))

load = dict(type='cxrdet.LoadImage', cache=True)
train_pipeline = [
    load,
    dict(type='Resize', scale=img_size, backend='pillow', interpolation='bicubic'),
    dict(type='RandomResizedCrop', scale=img_size, crop_ratio_range=(0.5, 1.0)),
    dict(type='Albumentations', transforms=[dict(type='D4', p=1.0)]),
    dict(type='PackInputs'),
]
load_pipeline = [load, dict(type='Resize', scale=test_size, backend='pillow', interpolation='bicubic')]
val_pipeline = [*load_pipeline, dict(type='PackInputs', meta_keys={{_base_.meta_keys}})]
tta_pipeline = [*load_pipeline, {{_base_.tta_views}}]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader

test_shortcuts = dict(test_size=[
    'val_dataloader.dataset.pipeline.1.scale', 'test_dataloader.dataset.pipeline.1.scale', 'tta_pipeline.1.scale'])
