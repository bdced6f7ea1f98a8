"""DenseNet-121, the network of CheXNet, with ImageNet weights of torchvision on NIH ChestX-ray14.
Run: cxrdet train densenet121_nih --data-root data/nih
"""
_base_ = [
    './_base_/models/multilabel_classifier.py', './_base_/datasets/nih_224.py', './_base_/schedules/nih_adamw_30e.py',
    './_base_/nih_runtime.py'
]
model = dict(
    backbone=dict(type='DenseNet', arch='121'),
    head=dict(in_channels=1024),
    init_cfg=dict(type='cxrdet.ConvertedPretrained', checkpoint='torchvision://densenet121', source='torchvision'))
