"""ResNet-34 from ImageNet weights at three rates: 1e-6 below, 1e-5 in the upper two stages, 1e-4 in the head.
Run: cxrdet train resnet34_nih_depth_rates --data-root data/nih
"""
_base_ = '../../resnet34_nih.py'
model = dict(
    init_cfg=dict(type='cxrdet.ConvertedPretrained', checkpoint='torchvision://resnet34', source='torchvision'))
small, medium = dict(lr_mult=0.01), dict(lr_mult=0.1)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={
        'backbone': small, 'backbone.layer3': medium, 'backbone.layer4': medium}))
