"""DenseNet-121, the maps of its dense blocks, with the ImageNet weights of torchvision."""
backbone = dict(
    _delete_=True,
    type='cxrdet.MultiLevelDenseNet',
    arch='121',
    norm_eval=True,
    init_cfg=dict(type='cxrdet.ConvertedPretrained', checkpoint='torchvision://densenet121', source='torchvision'))
backbone_channels = [256, 512, 1024, 1024]
backbone_strides = [4, 8, 16, 32]
backbone_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])  # of RGB
