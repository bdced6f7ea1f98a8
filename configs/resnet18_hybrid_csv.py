"""ResNet-18 with coordinate attention, then linear self-attention behind stage 4, on listed images.
Run: cxrdet train resnet18_hybrid_csv --data-root data/crops
in the blocks, as in the papers: --cfg-options position=blocks
"""
_base_ = './resnet18_csv.py'
num_heads, reduction, init_scale, position = 4, 32, 0., 'stage'
model = dict(backbone=dict(
    _delete_=True, type='cxrdet.ResNet18Hybrid', init_cfg={{_base_.imagenet}},
    num_heads=num_heads, reduction=reduction, init_scale=init_scale, position=position))
attention_shortcuts = dict(
    num_heads=['model.backbone.num_heads'], reduction=['model.backbone.reduction'],
    init_scale=['model.backbone.init_scale'], position=['model.backbone.position'])
