"""ResNet-34 by an old project's recipe, that of cnn_nih_old.py.
Run: cxrdet train resnet34_nih_old --data-root data/nih
"""
_base_ = [
    '../../_base_/models/resnet34_multilabel.py', '../../_base_/datasets/nih_224.py',
    '../../_base_/schedules/nih_adamw_10e.py', '../../_base_/nih_val_loss_runtime.py'
]
