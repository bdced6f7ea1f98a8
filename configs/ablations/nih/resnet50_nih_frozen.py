"""ResNet-50 with ImageNet weights of which only the last stage learns, with a hidden layer, on NIH ChestX-ray14.
Run: cxrdet train resnet50_nih_frozen --data-root data/nih

Pooling, dropout 0.5, 256 units with ReLU, dropout 0.3, the classifier: what an old project planned.
Without a network: --cfg-options model.init_cfg.checkpoint=resnet50-0676ba61.pth, or --from-scratch: nothing is frozen.
"""
_base_ = [
    '../../_base_/models/multilabel_classifier.py', '../../_base_/datasets/nih_224.py',
    '../../_base_/schedules/nih_adamw_10e.py', '../../_base_/nih_val_loss_runtime.py'
]
model = dict(
    backbone=dict(type='ResNet', depth=50, frozen_stages=3, zero_init_residual=False),
    head=dict(in_channels=2048, hidden=(256, ), dropout=(0.5, 0.3)),
    init_cfg=dict(type='cxrdet.ConvertedPretrained', checkpoint='torchvision://resnet50', source='torchvision'))
