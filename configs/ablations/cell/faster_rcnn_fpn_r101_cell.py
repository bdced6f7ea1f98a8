"""Faster R-CNN, ResNet-101, FPN on a COCO-format cell set: the teacher of faster_rcnn_r50_distilled_cell.py.
Run: cxrdet train faster_rcnn_fpn_r101_cell --data-root data/cell
"""
_base_ = ['../../faster_rcnn_fpn_cell.py', '../../_base_/backbones/resnet101.py']
model = dict(backbone={{_base_.backbone}}, neck=dict(in_channels={{_base_.backbone_channels}}))
