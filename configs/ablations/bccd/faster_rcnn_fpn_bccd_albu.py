"""The baseline on BCCD with the augmentation preset of albumentations in place of its own.
Run: cxrdet train faster_rcnn_fpn_bccd_albu --data-root data/bccd
"""
_base_ = ['../../faster_rcnn_fpn_bccd.py', '../../_base_/mods/albumentations.py']
model = dict(data_preprocessor=dict(batch_augments=None))  # all images are 384x288 px: no batch needs padding
crop = dict(type='RandomResizedCrop', size=(288, 384), scale=(0.8, 1.0), ratio=(1.0, 1.78), p=0.5)
holes = dict(type='CoarseDropout', num_holes_range=(1, 8), hole_height_range=(0.05, 0.05),
             hole_width_range=(0.05, 0.05), fill=0, p=0.3)
train_pipeline = [
    dict(type='cxrdet.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(384, 288), keep_ratio=True),
    dict(type='Albu', transforms=[crop, {{_base_.cell_albu}}, holes], bbox_params={{_base_.cell_boxes}}),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
