"""Faster R-CNN, DenseNet-121, FPN on a COCO-format cell set.
Run: cxrdet train faster_rcnn_fpn_densenet121_cell --data-root data/cell
"""
_base_ = ['../../faster_rcnn_fpn_cell.py', '../../_base_/backbones/densenet121.py']
model = dict(backbone={{_base_.backbone}}, neck=dict(in_channels={{_base_.backbone_channels}}))
