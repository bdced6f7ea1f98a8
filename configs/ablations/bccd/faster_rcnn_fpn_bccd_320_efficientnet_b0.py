"""faster_rcnn_fpn_bccd_320.py with EfficientNet-B0, from random weights.
Run: cxrdet train faster_rcnn_fpn_bccd_320_efficientnet_b0 --data-root data/bccd --from-scratch
"""
_base_ = ['./faster_rcnn_fpn_bccd_320.py', '../../_base_/backbones/efficientnet_b0.py']
model = dict(backbone={{_base_.backbone}}, neck=dict(in_channels={{_base_.backbone_channels}}))
