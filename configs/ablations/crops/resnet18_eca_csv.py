"""ResNet-18 with efficient channel attention behind stage 4, on listed images.
Run: python tools/train.py configs/ablations/crops/resnet18_eca_csv.py --data-root data/crops
in every block, as in the paper: --cfg-options position=blocks
"""
_base_ = '../../resnet18_csv.py'
position = 'stage'
model = dict(backbone=dict(
    _delete_=True, type='cxrdet.ResNet18ECA', init_cfg={{_base_.imagenet}}, position=position))
attention_shortcuts = dict(position=['model.backbone.position'])
