"""ResNet-18 with linear self-attention over positions behind stage 4, on small crops of cells, from random weights.
Run: cxrdet train resnet18_botlinear_crops_64 --data-root data/crops
"""
_base_ = './resnet18_bot_crops_64.py'
model = dict(backbone=dict(type='cxrdet.ResNet18BoTLinear'))
