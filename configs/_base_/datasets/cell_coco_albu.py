"""A cell set in COCO format, 640 px, with the augmentation preset of mods/albumentations.py."""
_base_ = ['./cell_coco.py', '../mods/albumentations.py']

albu = dict(
    type='Albu',
    transforms=[
        dict(type='RandomResizedCrop', size=(640, 640), scale=(0.8, 1.0), p=0.5),
        {{_base_.cell_albu}},
        {{_base_.cell_holes}},
    ],
    bbox_params={{_base_.cell_boxes}})
train_pipeline = [
    dict(type='cxrdet.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(640, 640), keep_ratio=True),
    albu,
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
