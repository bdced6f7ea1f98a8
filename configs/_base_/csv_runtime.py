"""Run settings of single-label classifiers: after 5 validations without a better accuracy the best weights are back."""
_base_ = './classification_runtime.py'

default_hooks = dict(
    channels_last=dict(type='cxrdet.ChannelsLastHook'),
    checkpoint=dict(save_best='accuracy/top1'),
    early_stopping=dict(patience=5))
