"""The baseline on BCCD with the class loss of the box head over the hardest 0.7 of the sampled regions.
Run: cxrdet train faster_rcnn_fpn_bccd_ohem_loss --data-root data/bccd
"""
_base_ = ['../../faster_rcnn_fpn_bccd.py', '../../_base_/mods/ohem_loss.py']
model = {{_base_.ohem_loss.model}}
