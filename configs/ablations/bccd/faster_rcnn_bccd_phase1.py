"""faster_rcnn_cell_phase1.py for BCCD on two CPU cores: 320x240 px, from random weights, 12 epochs of batches of 2.
Run: cxrdet train faster_rcnn_bccd_phase1 --data-root data/bccd
"""
_base_ = [
    '../../_base_/models/faster_rcnn_r50_fpn_scratch.py', '../../_base_/datasets/bccd_voc_320_albu.py',
    '../../_base_/schedules/bccd_cpu_12e.py', '../../_base_/default_runtime.py',
    '../../_base_/mods/focal_giou.py'
]
model = {{_base_.focal_giou.model}}
default_hooks = dict(channels_last=dict(type='cxrdet.ChannelsLastHook'))
