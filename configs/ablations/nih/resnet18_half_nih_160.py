"""ResNet-18 of half the width (2.8 M parameters) from random weights at 160 px on NIH ChestX-ray14, for CPUs.
Run: cxrdet train resnet18_half_nih_160 --data-root data/nih

Small batches on purpose: on some hundred films the number of steps counts more than the length of the schedule.
"""
_base_ = [
    '../../_base_/models/multilabel_classifier.py', '../../_base_/datasets/nih_160.py',
    '../../_base_/schedules/nih_cpu_40e.py', '../../_base_/nih_cpu_runtime.py'
]
model = dict(
    backbone=dict(type='ResNet', depth=18, stem_channels=32, base_channels=32, zero_init_residual=False),
    head=dict(in_channels=256))
train_dataloader = dict(batch_size=16)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
