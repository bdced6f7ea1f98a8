"""Phase 1: albumentations, focal and GIoU loss, warm-up and cosine, AdamW, batches of 8, 100 epochs.
Run: cxrdet train faster_rcnn_cell_phase1 --data-root data/cell
"""
_base_ = [
    '../../_base_/models/faster_rcnn_r50_fpn.py', '../../_base_/datasets/cell_coco_albu.py',
    '../../_base_/schedules/adamw_1e-3_cosine_100e.py', '../../_base_/default_runtime.py',
    '../../_base_/mods/focal_giou.py'
]
model = {{_base_.focal_giou.model}}
