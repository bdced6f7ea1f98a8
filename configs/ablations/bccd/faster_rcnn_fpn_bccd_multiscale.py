"""The baseline on BCCD with images of six sizes, 0.75 to 1 of 416x312 px, as 480 to 640 are of 640; tested at 384x288.
Run: cxrdet train faster_rcnn_fpn_bccd_multiscale --data-root data/bccd
"""
_base_ = '../../faster_rcnn_fpn_bccd.py'
sizes = [(312, 240), (333, 256), (354, 272), (374, 288), (395, 304), (416, 320)]
train_pipeline = [
    dict(type='cxrdet.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomChoiceResize', scales=sizes, keep_ratio=True),
    {{_base_.flip}},
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
