"""BCCD as in bccd_voc.py at 320x240 px, half of the images' own size, in training and testing."""
_base_ = './bccd_voc.py'

load_pipeline = [
    dict(type='cxrdet.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(320, 240), keep_ratio=True),
]
train_pipeline = [*load_pipeline, {{_base_.flip}}, dict(type='PackDetInputs')]
pack = dict(
    type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances'))
val_pipeline = [*load_pipeline, pack]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
