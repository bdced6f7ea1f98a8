"""ResNet-18 from random weights at 128 px on NIH ChestX-ray14, for CPUs.
Run: cxrdet train resnet18_nih_128 --data-root data/nih
"""
_base_ = [
    '../../_base_/models/multilabel_classifier.py', '../../_base_/datasets/nih_128.py',
    '../../_base_/schedules/nih_cpu_25e.py', '../../_base_/nih_cpu_runtime.py'
]
model = dict(backbone=dict(type='ResNet', depth=18, zero_init_residual=False), head=dict(in_channels=512))
