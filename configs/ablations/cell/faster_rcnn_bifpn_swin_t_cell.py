"""Faster R-CNN, Swin-T, BiFPN on a COCO-format cell set.
Run: cxrdet train faster_rcnn_bifpn_swin_t_cell --data-root data/cell
"""
_base_ = ['../../faster_rcnn_bifpn_cell.py', '../../_base_/backbones/swin_t.py']
model = dict(backbone={{_base_.backbone}}, neck=dict(in_channels={{_base_.backbone_channels}}))
