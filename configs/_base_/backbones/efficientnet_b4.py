"""EfficientNet-B4 with the ImageNet weights of torchvision, hence its padding and its eps."""
backbone = dict(
    _delete_=True,
    type='mmdet.EfficientNet',
    arch='b4',
    out_indices=(2, 3, 4, 5),
    drop_path_rate=0.2,
    conv_cfg=None,
    norm_cfg=dict(type='BN', eps=1e-5),
    norm_eval=True,
    init_cfg=dict(type='cxrdet.ConvertedPretrained', checkpoint='torchvision://efficientnet_b4', source='torchvision'))
backbone_channels = [32, 56, 160, 448]
backbone_strides = [4, 8, 16, 32]
backbone_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])  # of RGB
