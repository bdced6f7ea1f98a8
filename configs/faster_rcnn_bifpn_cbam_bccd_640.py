"""BiFPN at 640x480 px with channel and spatial attention (CBAM) on every level, on a GPU.
Run: python tools/train.py configs/faster_rcnn_bifpn_cbam_bccd_640.py --data-root data/bccd --amp
"""
_base_ = './faster_rcnn_bifpn_bccd_640.py'
model = dict(neck=dict(attention=dict(type='cxrdet.CBAM', ratio=8)))
