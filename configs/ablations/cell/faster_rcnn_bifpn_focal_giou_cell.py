"""The flagship with focal loss (0.25, 2), GIoU loss, and weights 1 / 1.5 / 0.5 for class, box and objectness.
Run: cxrdet train faster_rcnn_bifpn_focal_giou_cell --data-root data/cell
"""
_base_ = ['../../faster_rcnn_bifpn_cell.py', '../../_base_/mods/focal_giou.py']
model = {{_base_.focal_giou.model}}
