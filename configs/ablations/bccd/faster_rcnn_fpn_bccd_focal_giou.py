"""The baseline on BCCD with focal loss (0.25, 2), GIoU loss, and weights 1 / 1.5 / 0.5 for class, box and objectness.
Run: python tools/train.py configs/ablations/bccd/faster_rcnn_fpn_bccd_focal_giou.py --data-root data/bccd
"""
_base_ = ['../../faster_rcnn_fpn_bccd.py', '../../_base_/losses/focal_giou.py']
model = dict(rpn_head={{_base_.focal_giou_rpn}}, roi_head=dict(bbox_head={{_base_.focal_giou_head}}))
