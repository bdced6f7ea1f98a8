"""Faster R-CNN, ConvNeXt-T, FPN on a COCO-format cell set.
Run: cxrdet train faster_rcnn_fpn_convnext_t_cell --data-root data/cell
"""
_base_ = ['../../faster_rcnn_fpn_cell.py', '../../_base_/backbones/convnext_t.py']
model = dict(backbone={{_base_.backbone}}, neck=dict(in_channels={{_base_.backbone_channels}}))
