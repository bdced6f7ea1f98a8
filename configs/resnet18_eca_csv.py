"""ResNet-18 with efficient channel attention behind stage 4, on images listed in a CSV file.
Run: python tools/train.py configs/resnet18_eca_csv.py --data-root data/crops
"""
_base_ = './resnet18_csv.py'
model = dict(backbone=dict(_delete_=True, type='cxrdet.ResNet18ECA'))
