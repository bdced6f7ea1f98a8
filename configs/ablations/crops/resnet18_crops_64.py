"""Plain ResNet-18 on small crops of cells, 64 px, from random weights: what attention is measured against.
Run: cxrdet train resnet18_crops_64 --data-root data/crops
"""
_base_ = [
    '../../_base_/models/resnet18_csv.py', '../../_base_/datasets/csv_crops_64.py',
    '../../_base_/schedules/csv_cpu.py', '../../_base_/csv_cpu_runtime.py'
]
model = dict(
    backbone=dict(init_cfg=None),
    head=dict(loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')))
