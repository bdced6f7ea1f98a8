"""The baseline on BCCD with the hardest regions chosen for the box head (OHEM).
Run: python tools/train.py configs/ablations/bccd/faster_rcnn_fpn_bccd_ohem.py --data-root data/bccd
"""
_base_ = '../../faster_rcnn_fpn_bccd.py'
model = dict(train_cfg=dict(rcnn=dict(sampler=dict(type='OHEMSampler'))))
