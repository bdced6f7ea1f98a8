"""Faster R-CNN, ResNet-50, FPN on a COCO-format cell set, images with rare classes repeated.
Run: python tools/train.py configs/ablations/cell/faster_rcnn_fpn_cell_balanced.py --data-root data/cell
"""
_base_ = [
    '../../_base_/models/faster_rcnn_r50_fpn.py', '../../_base_/datasets/cell_coco_balanced.py',
    '../../_base_/schedules/adamw_cosine_100e.py', '../../_base_/default_runtime.py'
]
