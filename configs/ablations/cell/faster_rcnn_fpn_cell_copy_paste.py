"""The baseline of faster_rcnn_fpn_cell.py with cells of other images pasted into every second image.
Run: python tools/train.py configs/ablations/cell/faster_rcnn_fpn_cell_copy_paste.py --data-root data/cell
"""
_base_ = [
    '../../_base_/models/faster_rcnn_r50_fpn.py', '../../_base_/datasets/cell_coco_copy_paste.py',
    '../../_base_/schedules/adamw_cosine_100e.py', '../../_base_/default_runtime.py'
]
