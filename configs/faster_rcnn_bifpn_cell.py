"""Faster R-CNN, ResNet-50, BiFPN of three layers, CBAM on P3-P5, on a COCO-format cell set: the flagship.
Run: cxrdet train faster_rcnn_bifpn_cell --data-root data/cell
"""
_base_ = './faster_rcnn_fpn_cell.py'
cbam = dict(type='cxrdet.CBAM', ratio=8, kernel_size=7)
model = dict(
    neck=dict(
        _delete_=True,
        type='cxrdet.BiFPN',
        in_channels=[256, 512, 1024, 2048],
        out_channels=256,
        num_layers=3,
        num_outs=5,
        attention=[None, cbam, cbam, cbam, None]))  # P2 to P6
