"""Blood cells, BCCD in its own Pascal VOC layout: DATA_ROOT/{Annotations,JPEGImages,ImageSets/Main}, at 384x288 px.

Mirroring changes nothing that a blood smear means. Images are resized but never cropped: only about half of the cells
that an image's border cuts are labelled in BCCD, while those that a crop cuts would all keep their boxes. The sizes of
training lie around that of testing, up to 415x311 px.
"""
data_root = 'data/bccd/'

load_pipeline = [
    dict(type='cxrdet.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=(384, 288), ratio_range=(0.9, 1.08), keep_ratio=True),
]
flip = dict(type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal'])
train_pipeline = [*load_pipeline, flip, dict(type='PackDetInputs')]
val_pipeline = [
    dict(type='cxrdet.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(384, 288), keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances')),
]

train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='cxrdet.CellVOCDataset',
        data_root=data_root,
        ann_file='ImageSets/Main/train.txt',
        data_prefix=dict(img='JPEGImages/', ann='Annotations/'),
        metainfo=dict(classes=('RBC', 'WBC', 'Platelets')),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='cxrdet.CellVOCDataset',
        data_root=data_root,
        ann_file='ImageSets/Main/val.txt',
        data_prefix=dict(img='JPEGImages/', ann='Annotations/'),
        metainfo=dict(classes=('RBC', 'WBC', 'Platelets')),
        test_mode=True,
        pipeline=val_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(type='cxrdet.DetectionMetric')
test_evaluator = val_evaluator
