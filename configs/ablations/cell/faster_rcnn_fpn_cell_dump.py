"""The baseline of faster_rcnn_fpn_cell.py whose test also writes its raw predictions, as cxrdet test --out does.
Run: cxrdet train faster_rcnn_fpn_cell_dump --data-root data/cell
"""
_base_ = '../../faster_rcnn_fpn_cell.py'
test_evaluator = [
    {{_base_.test_evaluator}},
    dict(type='cxrdet.DumpPredictions', out_file_path='work_dirs/faster_rcnn_fpn_cell_dump/predictions.npz')
]
