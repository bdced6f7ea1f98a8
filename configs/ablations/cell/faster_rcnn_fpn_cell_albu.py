"""The baseline of faster_rcnn_fpn_cell.py with the augmentation preset of albumentations.
Run: python tools/train.py configs/ablations/cell/faster_rcnn_fpn_cell_albu.py --data-root data/cell
"""
_base_ = [
    '../../_base_/models/faster_rcnn_r50_fpn.py', '../../_base_/datasets/cell_coco_albu.py',
    '../../_base_/schedules/adamw_cosine_100e.py', '../../_base_/default_runtime.py'
]
