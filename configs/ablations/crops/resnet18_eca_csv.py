"""ResNet-18 with efficient channel attention behind stage 4, on listed images.
Run: cxrdet train resnet18_eca_csv --data-root data/crops
in every block, as in the paper: --cfg-options position=blocks
"""
_base_ = '../../resnet18_csv.py'
position = 'stage'
model = dict(backbone=dict(
    _delete_=True, type='cxrdet.ResNet18ECA', init_cfg={{_base_.imagenet}}, position=position))
attention_shortcuts = dict(position=['model.backbone.position'])
