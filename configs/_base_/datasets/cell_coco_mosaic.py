"""A cell set in COCO format, 640 px, where every second image is made of parts of four (mosaic).

The four meet near the middle, and the middle is kept, at the size that cells have in whole images; images at least 0.7
as high as wide leave no gap. A box of which less than 0.3 is left goes.
"""
_base_ = ['./cell_coco_copy_paste.py', './albu_cell.py']

middle = dict(type='CenterCrop', height=640, width=640, pad_if_needed=True, fill=114, p=1.0)
train_pipeline = [
    dict(type='Mosaic', img_scale=(640, 640), center_ratio_range=(0.8, 1.2), prob=0.5),
    dict(type='Albu', transforms=[middle], bbox_params={{_base_.cell_boxes}}),
    {{_base_.flip}},
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
