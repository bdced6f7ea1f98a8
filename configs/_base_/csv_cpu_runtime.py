"""Run settings of single-label classifiers from random weights on a few CPU cores.

Early stopping is off unless patience (in validations) is set: a cosine schedule earns most in its last epochs.
"""
_base_ = './classification_cpu_runtime.py'
patience = 1000

default_hooks = dict(
    checkpoint=dict(save_best='accuracy/top1'),
    ema=dict(momentum=0.02, gamma=10),
    early_stopping=dict(type='cxrdet.EarlyStoppingHook', monitor='accuracy/top1', patience=patience))

runtime_shortcuts = dict(patience=['default_hooks.early_stopping.patience'])
