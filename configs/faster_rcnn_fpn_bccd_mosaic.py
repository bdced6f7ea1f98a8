"""The baseline on BCCD with every second image made of parts of four (mosaic).
Run: python tools/train.py configs/faster_rcnn_fpn_bccd_mosaic.py --data-root data/bccd
"""
_base_ = ['./faster_rcnn_fpn_bccd_copy_paste.py', './_base_/datasets/albu_cell.py']
middle = dict(type='CenterCrop', height=320, width=416, pad_if_needed=True, fill=114, p=1.0)
mix_pipeline = [
    dict(type='Mosaic', img_scale=(416, 320), center_ratio_range=(0.8, 1.2), prob=0.5),
    dict(type='Albu', transforms=[middle], bbox_params={{_base_.cell_boxes}}),
    dict(type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=mix_pipeline))
