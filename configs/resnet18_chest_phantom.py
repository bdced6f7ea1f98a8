"""ResNet-18 of half the width from random weights at 128 px on made-up chest films: a check that classifiers learn.
Run: cxrdet train resnet18_chest_phantom --data-root data/chest

The films: cxrdet prepare-data chest-phantom data/chest --images 1200 --size 128
"""
_base_ = [
    './_base_/models/multilabel_classifier.py', './_base_/datasets/chest_phantom_128.py',
    './_base_/schedules/nih_cpu_40e.py', './_base_/nih_cpu_runtime.py'
]
model = dict(
    backbone=dict(type='ResNet', depth=18, stem_channels=32, base_channels=32, zero_init_residual=False),
    head=dict(in_channels=256))
train_dataloader = dict(batch_size=16)
