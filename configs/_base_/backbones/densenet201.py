"""DenseNet-201, the maps of its dense blocks, with the ImageNet weights of torchvision."""
backbone = dict(
    _delete_=True,
    type='cxrdet.MultiLevelDenseNet',
    arch='201',
    norm_eval=True,
    init_cfg=dict(type='cxrdet.ConvertedPretrained', checkpoint='torchvision://densenet201', source='torchvision'))
backbone_channels = [256, 512, 1792, 1920]
backbone_strides = [4, 8, 16, 32]
backbone_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])  # of RGB
