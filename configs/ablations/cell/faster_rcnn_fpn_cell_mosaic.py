"""The baseline of faster_rcnn_fpn_cell.py with every second image made of parts of four (mosaic).
Run: python tools/train.py configs/ablations/cell/faster_rcnn_fpn_cell_mosaic.py --data-root data/cell
"""
_base_ = [
    '../../_base_/models/faster_rcnn_r50_fpn.py', '../../_base_/datasets/cell_coco_mosaic.py',
    '../../_base_/schedules/adamw_cosine_100e.py', '../../_base_/default_runtime.py'
]
