"""ResNet-18 with coordinate attention behind stage 4, on small crops of cells, from random weights.
Run: cxrdet train resnet18_ca_crops_64 --data-root data/crops
"""
_base_ = './resnet18_crops_64.py'
reduction = 32
model = dict(backbone=dict(_delete_=True, type='cxrdet.ResNet18CA', reduction=reduction))
attention_shortcuts = dict(reduction=['model.backbone.reduction'])
