"""A cell set in COCO format, 640 px: DATA_ROOT/annotations/{train,val}.json and DATA_ROOT/images/.

No class is named here: the names are read from the training annotation file.
"""
data_root = 'data/cell/'

load_pipeline = [
    dict(type='cxrdet.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(640, 640), keep_ratio=True),
]
flip = dict(type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal'])
train_pipeline = [*load_pipeline, flip, dict(type='PackDetInputs')]
pack = dict(
    type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances'))
val_pipeline = [*load_pipeline, pack]

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    worker_init_fn=dict(type='cxrdet.worker_init_fn'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='cxrdet.CellDataset',
        data_root=data_root,
        ann_file='annotations/train.json',
        data_prefix=dict(img='images/'),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='cxrdet.CellDataset',
        data_root=data_root,
        ann_file='annotations/val.json',
        data_prefix=dict(img='images/'),
        test_mode=True,
        pipeline=val_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(type='cxrdet.DetectionMetric')
test_evaluator = val_evaluator
