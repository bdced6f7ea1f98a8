"""ResNet-18 with linear self-attention over positions behind stage 4, on listed images.
Run: cxrdet train resnet18_botlinear_csv --data-root data/crops
in the blocks of stage 4, as in the paper: --cfg-options position=blocks
"""
_base_ = './resnet18_bot_csv.py'
model = dict(backbone=dict(type='cxrdet.ResNet18BoTLinear'))
