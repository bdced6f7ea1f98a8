"""Swin-T from random weights on NIH ChestX-ray14.
Run: cxrdet train swin_t_nih --data-root data/nih
With weights: --cfg-options model.backbone.init_cfg="{'type': 'Pretrained', 'checkpoint': FILE, 'prefix': 'backbone'}"
"""
_base_ = [
    '../../_base_/models/multilabel_classifier.py', '../../_base_/datasets/nih_224.py',
    '../../_base_/schedules/nih_adamw_30e.py', '../../_base_/nih_runtime.py'
]
model = dict(
    backbone=dict(type='SwinTransformer', arch='tiny', img_size=224, drop_path_rate=0.2), head=dict(in_channels=768))
