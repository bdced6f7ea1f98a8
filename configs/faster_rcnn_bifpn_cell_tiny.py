"""A small BiFPN detector for two CPU cores and a first try: ResNet-18, BiFPN of 64 channels, 320 px.
Run: python tools/train.py configs/faster_rcnn_bifpn_cell_tiny.py --data-root data/cell
"""
_base_ = [
    './_base_/models/faster_rcnn_r18_fpn.py', './_base_/datasets/cell_coco_320.py',
    './_base_/schedules/cpu_8e.py', './_base_/scratch_runtime.py'
]
model = dict(
    neck=dict(_delete_=True, type='cxrdet.BiFPN', in_channels=[64, 128, 256, 512], out_channels=64, num_layers=2,
              num_outs=5),
    rpn_head=dict(in_channels=64, feat_channels=64),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64), bbox_head=dict(in_channels=64, fc_out_channels=256)))
