"""The baseline on BCCD with dropout 0.3, batch norm and L2 1e-4 in the box head.
Run: cxrdet train faster_rcnn_fpn_bccd_regularized --data-root data/bccd
"""
_base_ = ['../../faster_rcnn_fpn_bccd.py', '../../_base_/mods/regularized_head.py']
model = {{_base_.regularized_head.model}}
