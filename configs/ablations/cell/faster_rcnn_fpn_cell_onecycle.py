"""The baseline of faster_rcnn_fpn_cell.py trained by AdamW at a rate of one cycle.
Run: cxrdet train faster_rcnn_fpn_cell_onecycle --data-root data/cell
"""
_base_ = [
    '../../_base_/models/faster_rcnn_r50_fpn.py', '../../_base_/datasets/cell_coco.py',
    '../../_base_/schedules/onecycle_100e.py', '../../_base_/default_runtime.py'
]
