"""BiFPN at 640x480 px, on a GPU: faster_rcnn_fpn_bccd_640.py with the other neck.
Run: cxrdet train faster_rcnn_bifpn_bccd_640 --data-root data/bccd --amp
"""
_base_ = './faster_rcnn_fpn_bccd_640.py'
model = dict(
    neck=dict(_delete_=True, type='cxrdet.BiFPN', in_channels=[64, 128, 256, 512], out_channels=128, num_layers=2,
              num_outs=5))
