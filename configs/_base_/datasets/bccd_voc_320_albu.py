"""BCCD at 320x240 px with the preset of albumentations.py; crops and holes are as large a part as of 640 px."""
_base_ = ['./bccd_voc_320.py', '../mods/albumentations.py']

albu = dict(
    type='Albu',
    transforms=[
        dict(type='RandomResizedCrop', size=(240, 320), scale=(0.8, 1.0), ratio=(1.0, 1.78), p=0.5),
        {{_base_.cell_albu}},
        dict(type='CoarseDropout', num_holes_range=(1, 8), hole_height_range=(0.05, 0.05),
             hole_width_range=(0.05, 0.05), fill=0, p=0.3),
    ],
    bbox_params={{_base_.cell_boxes}})
train_pipeline = [
    dict(type='cxrdet.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(320, 240), keep_ratio=True),
    albu,
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
