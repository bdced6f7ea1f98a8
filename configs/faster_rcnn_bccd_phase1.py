"""faster_rcnn_cell_phase1.py for BCCD on two CPU cores: 320x240 px, from random weights, 12 epochs of batches of 2.
Run: python tools/train.py configs/faster_rcnn_bccd_phase1.py --data-root data/bccd
"""
_base_ = [
    './_base_/models/faster_rcnn_r50_fpn_scratch.py', './_base_/datasets/bccd_voc_320_albu.py',
    './_base_/schedules/bccd_cpu_12e.py', './_base_/default_runtime.py'
]
focal = dict(type='cxrdet.RoIFocalLoss', gamma=2.0, alpha=0.25)
model = dict(
    rpn_head=dict(loss_cls=dict(loss_weight=0.5)),
    roi_head=dict(bbox_head=dict(
        reg_decoded_bbox=True, cls_predictor_cfg=dict(type='cxrdet.PriorLinear', prior=0.01),
        loss_cls=dict(_delete_=True, **focal), loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=1.5))))
default_hooks = dict(channels_last=dict(type='cxrdet.ChannelsLastHook'))
