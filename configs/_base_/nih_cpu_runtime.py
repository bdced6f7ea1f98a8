"""The run settings of nih_runtime.py for training from random weights on a few CPU cores: channels-last, EMA."""
_base_ = './classification_cpu_runtime.py'
default_hooks = dict(checkpoint=dict(save_best='multi-label/AUROC_mean'))
