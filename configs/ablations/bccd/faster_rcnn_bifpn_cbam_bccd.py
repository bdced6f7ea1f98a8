"""BiFPN on BCCD with channel and spatial attention (CBAM) on every level of the pyramid.
Run: cxrdet train faster_rcnn_bifpn_cbam_bccd --data-root data/bccd
"""
_base_ = '../../faster_rcnn_bifpn_bccd.py'
model = dict(neck=dict(attention=dict(type='cxrdet.CBAM', ratio=8)))
