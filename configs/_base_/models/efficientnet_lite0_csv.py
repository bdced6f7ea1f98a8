"""EfficientNet-Lite0 with ImageNet weights from pip, average pooling, dropout, a linear classifier of one label."""
_base_ = '../backbones/efficientnet_lite0.py'
dropout = 0.2

model = dict(
    type='ImageClassifier',
    backbone={{_base_.classifier_backbone}},
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='cxrdet.DropoutLinearClsHead', num_classes=11, in_channels=1280, dropout=dropout,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')))

model_shortcuts = dict(dropout=['model.head.dropout'])
