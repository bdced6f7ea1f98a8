"""The baseline on BCCD with every second image made of parts of four (mosaic).
Run: cxrdet train faster_rcnn_fpn_bccd_mosaic --data-root data/bccd
"""
_base_ = ['./faster_rcnn_fpn_bccd_copy_paste.py', '../../_base_/mods/albumentations.py']
model = dict(data_preprocessor=dict(batch_augments=None))  # all images are 384x288 px: no batch needs padding
middle = dict(type='CenterCrop', height=288, width=384, pad_if_needed=True, fill=114, p=1.0)
whole = [
    dict(type='cxrdet.LoadImage'), dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(384, 288), keep_ratio=True)]
mix_pipeline = [
    dict(type='Mosaic', img_scale=(384, 288), center_ratio_range=(0.8, 1.2), prob=0.5),
    dict(type='Albu', transforms=[middle], bbox_params={{_base_.cell_boxes}}),
    {{_base_.flip}},
    dict(type='PackDetInputs')]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=whole), pipeline=mix_pipeline))
