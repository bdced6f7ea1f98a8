"""The small Vision Transformer by an old project's recipe: dropout 0.1 in attention and MLP, 0.5 in the head, GELU.
Run: cxrdet train vit_v1_nih_old --data-root data/nih

Of its training nothing else is known; it is that of cnn_nih_old.py here, with films turned by up to 20 degrees.
"""
_base_ = [
    '../../_base_/models/vit_v1_multilabel.py', '../../_base_/datasets/nih_224_vit.py',
    '../../_base_/schedules/nih_adamw_10e.py', '../../_base_/nih_val_loss_runtime.py'
]
