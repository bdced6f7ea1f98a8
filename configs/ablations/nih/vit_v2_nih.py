"""The small Vision Transformer of vit_v1_nih.py, trained by SGD with L2, on NIH ChestX-ray14.
Run: cxrdet train vit_v2_nih --data-root data/nih
"""
_base_ = [
    '../../_base_/models/vit_v1_multilabel.py', '../../_base_/datasets/nih_224_vit.py',
    '../../_base_/schedules/nih_sgd_60e.py', '../../_base_/nih_runtime.py'
]
