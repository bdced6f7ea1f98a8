"""The twin without references: the same head by cosine, but its prototypes are weights, as in few-shot fine-tuning.
Run: python tools/train.py projects/comparison_detector/configs/cosine_bifpn_lite0_bccd.py --data-root data/bccd

Beside comparison_cosine_bifpn_lite0_bccd it tells what reference images bring, beside the plain twin what the metric.
"""
_base_ = './plain_bifpn_lite0_bccd.py'
custom_imports = dict(imports=['cxrdet', 'projects.comparison_detector.comparison_detector'])
model = dict(roi_head=dict(bbox_head=dict(
    type='cxrdet.ComparisonBBoxHead', metric='cosine', temperature=0.05, background='free', learned=True)))
