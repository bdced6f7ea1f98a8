"""The baseline on BCCD without averaged weights (EMA), to show what they are worth.
Run: cxrdet train faster_rcnn_fpn_bccd_no_ema --data-root data/bccd
"""
_base_ = [
    '../../_base_/models/faster_rcnn_r18_fpn.py', '../../_base_/datasets/bccd_voc.py',
    '../../_base_/schedules/cpu_24e.py', '../../_base_/default_runtime.py'
]
model = dict(data_preprocessor=dict(batch_augments=[dict(type='BatchFixedSizePad', size=(320, 416))]))
optim_wrapper = dict(optimizer=dict(lr=7e-4))
auto_scale_lr = dict(base_batch_size=2)
default_hooks = dict(channels_last=dict(type='cxrdet.ChannelsLastHook'))
