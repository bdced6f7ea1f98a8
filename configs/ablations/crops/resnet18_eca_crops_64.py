"""ResNet-18 with efficient channel attention behind stage 4, on small crops of cells, from random weights.
Run: cxrdet train resnet18_eca_crops_64 --data-root data/crops
"""
_base_ = './resnet18_crops_64.py'
model = dict(backbone=dict(_delete_=True, type='cxrdet.ResNet18ECA'))
