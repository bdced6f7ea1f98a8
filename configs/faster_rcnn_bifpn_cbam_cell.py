"""The flagship with channel and spatial attention (CBAM) on every level of the pyramid.
Run: python tools/train.py configs/faster_rcnn_bifpn_cbam_cell.py --data-root data/cell
"""
_base_ = './faster_rcnn_bifpn_cell.py'
model = dict(neck=dict(attention=dict(type='cxrdet.CBAM', ratio=8)))
