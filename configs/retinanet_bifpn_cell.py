"""RetinaNet, ResNet-50, BiFPN on a COCO-format cell set: the single-stage detector.
Run: cxrdet train retinanet_bifpn_cell --data-root data/cell
"""
_base_ = [
    './_base_/models/retinanet_r50_fpn.py', './_base_/datasets/cell_coco.py',
    './_base_/schedules/adamw_cosine_100e.py', './_base_/default_runtime.py'
]
model = dict(
    neck=dict(_delete_=True, type='cxrdet.BiFPN', in_channels=[256, 512, 1024, 2048], start_level=1,
              out_channels=256, num_layers=3, num_outs=5))
