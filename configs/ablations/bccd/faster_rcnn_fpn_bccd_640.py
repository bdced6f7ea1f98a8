"""Faster R-CNN, ResNet-18, FPN on BCCD from random weights at the images' own 640x480 px, on a GPU.
Run: cxrdet train faster_rcnn_fpn_bccd_640 --data-root data/bccd --amp
"""
_base_ = [
    '../../_base_/models/faster_rcnn_r18_fpn.py', '../../_base_/datasets/bccd_voc_640.py',
    '../../_base_/schedules/gpu_24e.py', '../../_base_/scratch_runtime.py'
]
default_hooks = dict(checkpoint=dict(interval=12))  # an epoch takes seconds
