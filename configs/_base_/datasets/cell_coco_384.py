"""A cell set in COCO format at 384 px in batches of two, for fine-tuning on a CPU.

Another size: --cfg-options img_size="(640,640)".
"""
_base_ = './cell_coco.py'
img_size = (384, 384)

load_pipeline = [
    dict(type='cxrdet.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=img_size, keep_ratio=True),
]
train_pipeline = [*load_pipeline, {{_base_.flip}}, dict(type='PackDetInputs')]
val_pipeline = [*load_pipeline, {{_base_.pack}}]
train_dataloader = dict(batch_size=2, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader

data_shortcuts = dict(img_size=[f'{split}_dataloader.dataset.pipeline.2.scale' for split in ('train', 'val', 'test')])
