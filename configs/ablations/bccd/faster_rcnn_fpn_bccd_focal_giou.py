"""The baseline on BCCD with focal loss (0.25, 2), GIoU loss, and weights 1 / 1.5 / 0.5 for class, box and objectness.
Run: cxrdet train faster_rcnn_fpn_bccd_focal_giou --data-root data/bccd
"""
_base_ = ['../../faster_rcnn_fpn_bccd.py', '../../_base_/mods/focal_giou.py']
model = {{_base_.focal_giou.model}}
