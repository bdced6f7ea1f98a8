"""Run settings of single-label classifiers from random weights on a few CPU cores."""
_base_ = './classification_cpu_runtime.py'

default_hooks = dict(
    checkpoint=dict(save_best='accuracy/top1'),
    early_stopping=dict(patience=7),
    ema=dict(momentum=0.02, gamma=10))
