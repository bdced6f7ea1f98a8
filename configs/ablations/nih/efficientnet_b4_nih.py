"""EfficientNet-B4 from random weights on NIH ChestX-ray14.
Run: cxrdet train efficientnet_b4_nih --data-root data/nih
"""
_base_ = [
    '../../_base_/models/multilabel_classifier.py', '../../_base_/datasets/nih_224.py',
    '../../_base_/schedules/nih_adamw_30e.py', '../../_base_/nih_runtime.py'
]
model = dict(backbone=dict(type='EfficientNet', arch='b4'), head=dict(in_channels=1792))
