"""Faster R-CNN, ResNet-50, FPN on a COCO-format cell set: the baseline.
Run: cxrdet train faster_rcnn_fpn_cell --data-root data/cell
"""
_base_ = [
    './_base_/models/faster_rcnn_r50_fpn.py', './_base_/datasets/cell_coco.py',
    './_base_/schedules/adamw_cosine_100e.py', './_base_/default_runtime.py'
]
