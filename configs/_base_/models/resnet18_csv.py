"""ResNet-18, global average pooling, dropout, linear classifier of one label an image; random weights at first.

Weights that were trained on RGB images, such as torchvision's: as in resnet18_hybrid_csv_finetune.py.
Weights of a file for the backbone: --cfg-options pretrained=FILE head_lr_mult=10
"""
dropout = 0.1

model = dict(
    type='ImageClassifier',
    backbone=dict(type='cxrdet.AttentionResNet', depth=18),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='cxrdet.DropoutLinearClsHead',
        num_classes=11,
        in_channels=512,
        dropout=dropout,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')))

model_shortcuts = dict(dropout=['model.head.dropout'], pretrained=['model.backbone.init_cfg'])
