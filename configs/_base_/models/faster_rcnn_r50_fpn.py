"""Faster R-CNN, ResNet-50 (ImageNet weights of torchvision), FPN; anchors from 16 px up, since cells are small."""
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'

model = dict(
    rpn_head=dict(anchor_generator=dict(scales=[4])),
    test_cfg=dict(rcnn=dict(max_per_img=300)))
