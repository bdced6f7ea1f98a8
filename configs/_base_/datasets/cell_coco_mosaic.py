"""A cell set in COCO format, 640 px, where every second image is made of parts of four (mosaic).

The four meet near the middle, and the middle is kept, at the size that cells have in whole images; images at least 0.7
as high as wide leave no gap. A box of which less than 0.3 is left goes.
"""
_base_ = ['./cell_coco.py', './albu_cell.py']

load_pipeline = [
    dict(type='cxrdet.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(640, 640), keep_ratio=True),
]
middle = dict(type='CenterCrop', height=640, width=640, pad_if_needed=True, fill=114, p=1.0)
train_pipeline = [
    dict(type='Mosaic', img_scale=(640, 640), center_ratio_range=(0.8, 1.2), prob=0.5),
    dict(type='Albu', transforms=[middle], bbox_params={{_base_.cell_boxes}}),
    dict(type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='MultiImageMixDataset',
        dataset=dict(
            type='cxrdet.CellDataset',
            data_root={{_base_.data_root}},
            ann_file='annotations/train.json',
            data_prefix=dict(img='images/'),
            pipeline=load_pipeline),
        pipeline=train_pipeline))
