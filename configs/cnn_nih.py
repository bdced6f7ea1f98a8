"""The plain CNN (conv 32, conv 64, dense 512; 95,579,087 parameters) on NIH ChestX-ray14: the weakest baseline.
Run: cxrdet train cnn_nih --data-root data/nih
"""
_base_ = [
    './_base_/models/cnn_multilabel.py', './_base_/datasets/nih_224.py', './_base_/schedules/nih_adamw_30e.py',
    './_base_/nih_runtime.py'
]
