"""ResNet-18 with coordinate attention behind stage 4, on listed images.
Run: cxrdet train resnet18_ca_csv --data-root data/crops
in every block, as in the paper: --cfg-options position=blocks
"""
_base_ = '../../resnet18_csv.py'
reduction, position = 32, 'stage'
model = dict(backbone=dict(
    _delete_=True, type='cxrdet.ResNet18CA', init_cfg={{_base_.imagenet}},
    reduction=reduction, position=position))
attention_shortcuts = dict(
    reduction=['model.backbone.reduction'], position=['model.backbone.position'])
