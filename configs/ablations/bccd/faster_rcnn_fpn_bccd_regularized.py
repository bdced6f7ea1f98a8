"""The baseline on BCCD with dropout 0.3, batch norm and L2 1e-4 in the box head.
Run: python tools/train.py configs/ablations/bccd/faster_rcnn_fpn_bccd_regularized.py --data-root data/bccd
"""
_base_ = '../../faster_rcnn_fpn_bccd.py'
model = dict(roi_head=dict(bbox_head=dict(type='cxrdet.RegularizedBBoxHead', dropout=0.3, l2=1e-4)))
