"""Swin-T with the ImageNet weights of torchvision."""
backbone = dict(
    _delete_=True,
    type='cxrdet.SwinTransformer',
    drop_path_rate=0.2,
    init_cfg=dict(
        type='cxrdet.ConvertedPretrained', checkpoint='torchvision://swin_t.imagenet1k_v1', source='torchvision'))
backbone_channels = [96, 192, 384, 768]
backbone_strides = [4, 8, 16, 32]
backbone_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])  # of RGB
