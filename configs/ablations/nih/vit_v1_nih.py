"""The small Vision Transformer (patches of 32 px) with AdamW on NIH ChestX-ray14.
Run: cxrdet train vit_v1_nih --data-root data/nih
"""
_base_ = [
    '../../_base_/models/vit_v1_multilabel.py', '../../_base_/datasets/nih_224_vit.py',
    '../../_base_/schedules/nih_adamw_30e.py', '../../_base_/nih_runtime.py'
]
