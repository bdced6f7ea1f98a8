"""A narrow DenseNet (growth 16, 4 + 8 + 12 + 8 layers) from random weights at 128 px on NIH ChestX-ray14, for CPUs.
Run: cxrdet train densenet_tiny_nih_128 --data-root data/nih
"""
_base_ = [
    '../../_base_/models/multilabel_classifier.py', '../../_base_/datasets/nih_128.py',
    '../../_base_/schedules/nih_cpu_25e.py', '../../_base_/nih_cpu_runtime.py'
]
model = dict(
    backbone=dict(type='DenseNet', arch=dict(growth_rate=16, depths=(4, 8, 12, 8), init_channels=32)),
    head=dict(in_channels=268))
