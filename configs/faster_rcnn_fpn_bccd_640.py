"""Faster R-CNN, ResNet-18, FPN on BCCD from random weights, on a GPU: the images' own 640x480 px, 72 epochs.
Run: python tools/train.py configs/faster_rcnn_fpn_bccd_640.py --data-root data/bccd --amp
"""
_base_ = [
    './_base_/models/faster_rcnn_r18_fpn.py', './_base_/datasets/bccd_voc_640.py',
    './_base_/schedules/scratch_72e.py', './_base_/scratch_runtime.py'
]
default_hooks = dict(checkpoint=dict(interval=12))  # an epoch takes seconds
