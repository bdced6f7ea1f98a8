"""The baseline of faster_rcnn_fpn_cell.py with images of six sizes, 480 to 640 px.
Run: python tools/train.py configs/ablations/cell/faster_rcnn_fpn_cell_multiscale.py --data-root data/cell
"""
_base_ = '../../faster_rcnn_fpn_cell.py'
sizes = [(side, side) for side in (480, 512, 544, 576, 608, 640)]
train_pipeline = [
    dict(type='cxrdet.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomChoiceResize', scales=sizes, keep_ratio=True),
    {{_base_.flip}},
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
