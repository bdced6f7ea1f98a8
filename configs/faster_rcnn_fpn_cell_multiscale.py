"""The baseline of faster_rcnn_fpn_cell.py with images of six sizes, 480 to 640 px.
Run: python tools/train.py configs/faster_rcnn_fpn_cell_multiscale.py --data-root data/cell
"""
_base_ = './faster_rcnn_fpn_cell.py'
train_pipeline = [
    dict(type='cxrdet.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomChoiceResize', scales=[(side, side) for side in range(480, 641, 32)], keep_ratio=True),
    dict(type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
