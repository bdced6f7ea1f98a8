"""ResNet-18 with self-attention over positions behind stage 4, on listed images.
Run: cxrdet train resnet18_bot_csv --data-root data/crops
in the blocks of stage 4, as in the paper: --cfg-options position=blocks
"""
_base_ = '../../resnet18_csv.py'
num_heads, init_scale, position = 4, 0., 'stage'
model = dict(backbone=dict(
    _delete_=True, type='cxrdet.ResNet18BoT', init_cfg={{_base_.imagenet}},
    num_heads=num_heads, init_scale=init_scale, position=position))
attention_shortcuts = dict(
    num_heads=['model.backbone.num_heads'], init_scale=['model.backbone.init_scale'],
    position=['model.backbone.position'])
