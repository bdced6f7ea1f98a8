"""faster_rcnn_cell_phase0.py for BCCD on two CPU cores: 320x240 px, random weights; the same Adam and batches of 2.
Run: cxrdet train faster_rcnn_bccd_phase0 --data-root data/bccd --cfg-options max_epochs=12
"""
_base_ = [
    '../../_base_/models/faster_rcnn_r50_fpn_scratch.py', '../../_base_/datasets/bccd_voc_320.py',
    '../../_base_/schedules/adam_fixed_20e.py', '../../_base_/default_runtime.py'
]
train_cfg = dict(val_interval=4)
optim_wrapper = dict(type='cxrdet.MixedPrecisionOptimWrapper')
default_hooks = dict(channels_last=dict(type='cxrdet.ChannelsLastHook'))
