"""ResNet-34 (21.3 M parameters) from random weights on NIH ChestX-ray14.
Run: cxrdet train resnet34_nih --data-root data/nih
"""
_base_ = [
    './_base_/models/resnet34_multilabel.py', './_base_/datasets/nih_224.py', './_base_/schedules/nih_adamw_30e.py',
    './_base_/nih_runtime.py'
]
