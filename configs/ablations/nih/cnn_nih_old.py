"""The plain CNN by an old project's recipe: AdamW 1e-4, decay 1e-6, batches of 32, 10 epochs, best by validation loss.
Run: cxrdet train cnn_nih_old --data-root data/nih
"""
_base_ = [
    '../../_base_/models/cnn_multilabel.py', '../../_base_/datasets/nih_224.py',
    '../../_base_/schedules/nih_adamw_10e.py', '../../_base_/nih_val_loss_runtime.py'
]
