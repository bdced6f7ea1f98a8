"""ResNet-18 with self-attention over positions behind stage 4, on small crops of cells, from random weights.
Run: cxrdet train resnet18_bot_crops_64 --data-root data/crops
"""
_base_ = './resnet18_crops_64.py'
num_heads = 4
model = dict(backbone=dict(_delete_=True, type='cxrdet.ResNet18BoT', num_heads=num_heads))
attention_shortcuts = dict(num_heads=['model.backbone.num_heads'])
