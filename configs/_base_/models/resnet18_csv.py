"""ResNet-18 with torchvision's ImageNet weights, global average pooling, dropout, linear classifier of one label.

Without a network: --cfg-options pretrained=FILE (or model.backbone.init_cfg.checkpoint=FILE); from random weights:
--from-scratch, or pretrained=None.
"""
dropout = 0.1
imagenet = dict(type='Pretrained', checkpoint='torchvision://resnet18')

model = dict(
    type='ImageClassifier',
    backbone=dict(type='cxrdet.AttentionResNet', depth=18, init_cfg=imagenet),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='cxrdet.DropoutLinearClsHead', num_classes=11, in_channels=512, dropout=dropout))

model_shortcuts = dict(dropout=['model.head.dropout'], pretrained=['model.backbone.init_cfg'])
