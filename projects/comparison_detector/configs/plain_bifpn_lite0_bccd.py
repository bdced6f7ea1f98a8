"""The plain twin of comparison_bifpn_lite0_bccd: MMDetection's box head with two shared layers and a linear classifier.
Run: python tools/train.py projects/comparison_detector/configs/plain_bifpn_lite0_bccd.py --data-root data/bccd
"""
_base_ = '../../../configs/faster_rcnn_bifpn_lite0_bccd.py'
model = dict(roi_head=dict(bbox_head=dict(reg_class_agnostic=True)))
