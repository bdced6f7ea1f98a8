"""Comparison detector, EfficientNet-Lite0 with ImageNet weights from pip, BiFPN, on BCCD, on two CPU cores.
Run: python tools/train.py projects/comparison_detector/configs/comparison_bifpn_lite0_bccd.py --data-root data/bccd

Reference images: cxrdet prepare-data references data/bccd data/bccd_references --split train --per-class 12; three of
each class are drawn at each step. Boxes are class-agnostic and the background knows no number of classes, so that
classes can be added by adapt.py.
"""
_base_ = '../../../configs/faster_rcnn_bifpn_lite0_bccd.py'
custom_imports = dict(imports=['cxrdet', 'projects.comparison_detector.comparison_detector'])
custom_hooks = [dict(type='cxrdet.PrototypeHook')]
model = dict(
    type='cxrdet.ComparisonDetector',
    references=dict(root='data/bccd_references', per_class=3, size=96, redraw=True),
    roi_head=dict(bbox_head=dict(
        type='cxrdet.ComparisonBBoxHead', background='mean', reg_class_agnostic=True)))
