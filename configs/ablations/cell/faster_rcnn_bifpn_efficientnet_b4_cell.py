"""Faster R-CNN, EfficientNet-B4, BiFPN on a COCO-format cell set; any piece of _base_/backbones/ goes this way.
Run: cxrdet train faster_rcnn_bifpn_efficientnet_b4_cell --data-root data/cell
"""
_base_ = ['../../faster_rcnn_bifpn_cell.py', '../../_base_/backbones/efficientnet_b4.py']
model = dict(backbone={{_base_.backbone}}, neck=dict(in_channels={{_base_.backbone_channels}}))
