"""Faster R-CNN, FPN, and MMDetection's ResNeXt-50 with efficient channel attention behind its last three stages.
Run: cxrdet train faster_rcnn_fpn_resnext50_eca_cell --data-root data/cell
"""
_base_ = '../../faster_rcnn_fpn_cell.py'
eca = dict(type='cxrdet.ECA')
model = dict(backbone=dict(
    _delete_=True,
    type='cxrdet.with_attention',
    backbone=dict(type='mmdet.ResNeXt', depth=50, groups=32, base_width=4, frozen_stages=1, norm_eval=True,
                  init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnext50_32x4d')),
    attention=[None, eca, eca, eca]))
