"""The Faster R-CNN of faster_rcnn_r50_fpn.py from random weights: nothing is frozen, the FPN has batch norm.

zero_init_residual is off: residual blocks that start as the identity hardly come on in a short training by Adam.
"""
_base_ = './faster_rcnn_r50_fpn.py'

model = dict(
    backbone=dict(frozen_stages=-1, norm_eval=False, zero_init_residual=False, init_cfg=None),
    neck=dict(norm_cfg=dict(type='BN')))
