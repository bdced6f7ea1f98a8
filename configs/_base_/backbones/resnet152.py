"""ResNet-152 with the ImageNet weights of torchvision, first stage frozen, batch norm as pretrained."""
backbone = dict(
    _delete_=True,
    type='mmdet.ResNet',
    depth=152,
    frozen_stages=1,
    norm_eval=True,
    init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet152'))
backbone_channels = [256, 512, 1024, 2048]
backbone_strides = [4, 8, 16, 32]
backbone_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])  # of RGB
