"""ConvNeXt-T from random weights on NIH ChestX-ray14; its backbone pools by itself.
Run: cxrdet train convnext_t_nih --data-root data/nih
"""
_base_ = [
    '../../_base_/models/multilabel_classifier.py', '../../_base_/datasets/nih_224.py',
    '../../_base_/schedules/nih_adamw_30e.py', '../../_base_/nih_runtime.py'
]
model = dict(backbone=dict(type='ConvNeXt', arch='tiny', drop_path_rate=0.1), neck=None, head=dict(in_channels=768))
