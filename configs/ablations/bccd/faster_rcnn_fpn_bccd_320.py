"""Faster R-CNN, ResNet-18, FPN on BCCD from random weights at 320x240 px in 12 epochs: the baseline of short tables.
Run: cxrdet train faster_rcnn_fpn_bccd_320 --data-root data/bccd
"""
_base_ = [
    '../../_base_/models/faster_rcnn_r18_fpn.py', '../../_base_/datasets/bccd_voc_320.py',
    '../../_base_/schedules/bccd_cpu_12e.py', '../../_base_/default_runtime.py'
]
default_hooks = dict(channels_last=dict(type='cxrdet.ChannelsLastHook'))
