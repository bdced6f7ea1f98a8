"""ResNeXt-101, 32 groups of 8 channels, with the ImageNet weights of torchvision."""
backbone = dict(
    _delete_=True,
    type='mmdet.ResNeXt',
    depth=101,
    groups=32,
    base_width=8,
    frozen_stages=1,
    norm_eval=True,
    init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnext101_32x8d'))
backbone_channels = [256, 512, 1024, 2048]
backbone_strides = [4, 8, 16, 32]
backbone_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])  # of RGB
