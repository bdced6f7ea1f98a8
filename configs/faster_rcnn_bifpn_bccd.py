"""Faster R-CNN, ResNet-18, BiFPN on BCCD from random weights, on two CPU cores.
Run: cxrdet train faster_rcnn_bifpn_bccd --data-root data/bccd
"""
_base_ = './faster_rcnn_fpn_bccd.py'
model = dict(
    neck=dict(_delete_=True, type='cxrdet.BiFPN', in_channels=[64, 128, 256, 512], out_channels=128, num_layers=2,
              num_outs=5))
