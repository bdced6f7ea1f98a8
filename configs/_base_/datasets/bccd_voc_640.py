"""BCCD as in bccd_voc.py, at the images' own 640x480 px in batches of 8; the sizes of training are 0.8 to 1.1 of it."""
_base_ = './bccd_voc.py'

train_pipeline = [
    dict(type='cxrdet.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=(640, 480), ratio_range=(0.8, 1.1), keep_ratio=True),
    {{_base_.flip}},
    dict(type='PackDetInputs'),
]
val_pipeline = [
    dict(type='cxrdet.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(640, 480), keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances')),
]

train_dataloader = dict(batch_size=8, num_workers=3, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
