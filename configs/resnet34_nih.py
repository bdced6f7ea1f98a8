"""ResNet-34 (21.3 M parameters) from random weights on NIH ChestX-ray14.
Run: python tools/train.py configs/resnet34_nih.py --data-root data/nih
"""
_base_ = [
    './_base_/models/multilabel_classifier.py', './_base_/datasets/nih_224.py', './_base_/schedules/nih_adamw_30e.py',
    './_base_/nih_runtime.py'
]
model = dict(backbone=dict(type='ResNet', depth=34, zero_init_residual=False), head=dict(in_channels=512))
