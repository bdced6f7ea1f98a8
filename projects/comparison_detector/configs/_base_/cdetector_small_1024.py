"""The small training split of the Comparison detector (762 images, 11 classes) in COCO format, at 1024 px."""
_base_ = '../../../../configs/_base_/datasets/cell_coco.py'
data_root = 'data/cdetector/'
metainfo = dict(classes=('ascus', 'asch', 'lsil', 'hsil', 'scc', 'agc', 'trichomonas', 'candida', 'flora', 'herps',
                         'actinomyces'))
load_pipeline = [
    dict(type='cxrdet.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(1024, 1024), keep_ratio=True),
]
train_pipeline = [*load_pipeline, {{_base_.flip}}, dict(type='PackDetInputs')]
val_pipeline = [*load_pipeline, {{_base_.pack}}]
train_dataloader = dict(batch_size=1, dataset=dict(
    data_root=data_root, metainfo=metainfo, ann_file='annotations/train_small.json', pipeline=train_pipeline))
val_dataloader = dict(batch_size=1, dataset=dict(
    data_root=data_root, metainfo=metainfo, ann_file='annotations/test.json', pipeline=val_pipeline))
test_dataloader = val_dataloader
