"""ConvNeXt-T with the ImageNet weights of torchvision."""
backbone = dict(
    _delete_=True,
    type='mmpretrain.ConvNeXt',
    arch='tiny',
    out_indices=(0, 1, 2, 3),
    drop_path_rate=0.2,
    gap_before_final_norm=False,
    init_cfg=dict(
        type='cxrdet.ConvertedPretrained',
        checkpoint='torchvision://convnext_tiny.imagenet1k_v1',
        source='torchvision'))
backbone_channels = [96, 192, 384, 768]
backbone_strides = [4, 8, 16, 32]
backbone_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])  # of RGB
