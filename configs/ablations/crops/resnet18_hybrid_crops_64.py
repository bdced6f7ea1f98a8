"""ResNet-18 with coordinate attention, then linear self-attention, behind stage 4, on small crops of cells.
Run: cxrdet train resnet18_hybrid_crops_64 --data-root data/crops
"""
_base_ = './resnet18_crops_64.py'
num_heads, reduction = 4, 32
model = dict(
    backbone=dict(_delete_=True, type='cxrdet.ResNet18Hybrid', num_heads=num_heads, reduction=reduction))
attention_shortcuts = dict(num_heads=['model.backbone.num_heads'], reduction=['model.backbone.reduction'])
