"""Faster R-CNN, ResNet-50, FPN on a COCO-format set, judged by FROC beside the mAP, as lesion detectors are.
Run: cxrdet train faster_rcnn_fpn_cell_froc --data-root data/cell
"""
_base_ = '../../faster_rcnn_fpn_cell.py'
val_evaluator = [dict(type='cxrdet.DetectionMetric'), dict(type='cxrdet.FROCMetric', iou_thr=0.3)]
test_evaluator = val_evaluator
