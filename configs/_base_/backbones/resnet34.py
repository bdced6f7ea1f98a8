"""ResNet-34 with the ImageNet weights of torchvision, first stage frozen, batch norm as pretrained."""
backbone = dict(
    _delete_=True,
    type='mmdet.ResNet',
    depth=34,
    frozen_stages=1,
    norm_eval=True,
    init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet34'))
backbone_channels = [64, 128, 256, 512]
backbone_strides = [4, 8, 16, 32]
backbone_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])  # of RGB
