"""Run settings of multi-label classifiers: the best checkpoint is the one with the highest mean AUROC."""
_base_ = './classification_runtime.py'
default_hooks = dict(checkpoint=dict(save_best='multi-label/AUROC_mean'))
