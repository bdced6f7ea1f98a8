"""The baseline of faster_rcnn_fpn_cell.py with dropout 0.3, batch norm and L2 1e-4 in the box head.
Run: python tools/train.py configs/ablations/cell/faster_rcnn_fpn_cell_regularized.py --data-root data/cell
"""
_base_ = '../../faster_rcnn_fpn_cell.py'
model = dict(roi_head=dict(bbox_head=dict(type='cxrdet.RegularizedBBoxHead', dropout=0.3, l2=1e-4)))
