"""The Comparison detector as published: ResNet-50 (ImageNet weights of torchvision), FPN, three references of 224 px.

Anchors of 32 to 512 px. Boxes are regressed per class by two layers of 1024, the background's prototype comes from
those of all classes. No batch norm and no ReLU behind the score, unlike the published code.
"""
_base_ = '../../../../configs/_base_/models/faster_rcnn_r50_fpn.py'

model = dict(
    type='cxrdet.ComparisonDetector',
    references=dict(root='data/references', per_class=3, size=224),
    rpn_head=dict(anchor_generator=dict(scales=[8])),
    roi_head=dict(bbox_head=dict(type='cxrdet.ComparisonBBoxHead', metric='learned', background='stacked')))
