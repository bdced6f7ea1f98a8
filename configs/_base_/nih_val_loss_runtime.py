"""Run settings of multi-label classifiers whose best checkpoint is the one with the lowest validation loss."""
_base_ = './nih_runtime.py'
default_hooks = dict(checkpoint=dict(save_best='val/loss', rule='less'))
