"""The same by cosine, temperature 0.05, in place of the learned distance.
Run: python tools/train.py projects/comparison_detector/configs/comparison_cosine_bifpn_lite0_bccd.py
"""
_base_ = './comparison_bifpn_lite0_bccd.py'
model = dict(roi_head=dict(bbox_head=dict(metric='cosine', temperature=0.05)))
