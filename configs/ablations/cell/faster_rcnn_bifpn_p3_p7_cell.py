"""The flagship on P3 to P7, strides 8 to 128, as EfficientDet has them: faster, and coarser on the smallest cells.
Run: cxrdet train faster_rcnn_bifpn_p3_p7_cell --data-root data/cell
"""
_base_ = '../../faster_rcnn_bifpn_cell.py'
model = dict(
    neck=dict(start_level=1, attention=[{{_base_.cbam}}, {{_base_.cbam}}, {{_base_.cbam}}, None, None]),
    rpn_head=dict(anchor_generator=dict(scales=[2], strides=[8, 16, 32, 64, 128])),  # from 16 px up, as on P2 to P6
    roi_head=dict(bbox_roi_extractor=dict(featmap_strides=[8, 16, 32, 64], finest_scale=112)))
