"""ResNet-34 by an old project's recipe, that of cnn_nih_old.py.
Run: python tools/train.py configs/ablations/nih/resnet34_nih_old.py --data-root data/nih
"""
_base_ = [
    '../../_base_/models/resnet34_multilabel.py', '../../_base_/datasets/nih_224.py', '../../_base_/schedules/nih_adamw_10e.py',
    '../../_base_/nih_val_loss_runtime.py'
]
