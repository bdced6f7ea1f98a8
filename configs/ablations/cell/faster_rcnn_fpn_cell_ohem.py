"""The baseline of faster_rcnn_fpn_cell.py with the hardest regions chosen for the box head (OHEM).
Run: python tools/train.py configs/ablations/cell/faster_rcnn_fpn_cell_ohem.py --data-root data/cell
"""
_base_ = '../../faster_rcnn_fpn_cell.py'
model = dict(train_cfg=dict(rcnn=dict(sampler=dict(type='OHEMSampler'))))
