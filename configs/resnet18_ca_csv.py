"""ResNet-18 with coordinate attention behind stage 4, on images listed in a CSV file.
Run: python tools/train.py configs/resnet18_ca_csv.py --data-root data/crops
"""
_base_ = './resnet18_csv.py'
reduction = 32
model = dict(backbone=dict(_delete_=True, type='cxrdet.ResNet18CA', reduction=reduction))
attention_shortcuts = dict(reduction=['model.backbone.reduction'])
