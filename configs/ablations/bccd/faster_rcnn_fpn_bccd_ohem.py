"""The baseline on BCCD with the hardest regions chosen for the box head (OHEM).
Run: cxrdet train faster_rcnn_fpn_bccd_ohem --data-root data/bccd
"""
_base_ = ['../../faster_rcnn_fpn_bccd.py', '../../_base_/mods/ohem.py']
model = {{_base_.ohem.model}}
