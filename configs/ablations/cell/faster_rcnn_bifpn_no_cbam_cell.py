"""The flagship without attention (CBAM) on its pyramid.
Run: cxrdet train faster_rcnn_bifpn_no_cbam_cell --data-root data/cell
"""
_base_ = '../../faster_rcnn_bifpn_cell.py'
model = dict(neck=dict(attention=None))
