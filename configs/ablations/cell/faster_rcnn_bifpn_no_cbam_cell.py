"""The flagship without attention (CBAM) on its pyramid.
Run: python tools/train.py configs/ablations/cell/faster_rcnn_bifpn_no_cbam_cell.py --data-root data/cell
"""
_base_ = '../../faster_rcnn_bifpn_cell.py'
model = dict(neck=dict(attention=None))
