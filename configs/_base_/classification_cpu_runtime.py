"""The run settings of classifiers for training from random weights on a few CPU cores: channels-last, EMA weights."""
_base_ = './classification_runtime.py'

default_hooks = dict(
    channels_last=dict(type='cxrdet.ChannelsLastHook'),
    ema=dict(type='EMAHook', ema_type='mmdet.ExpMomentumEMA', momentum=0.01, gamma=100, update_buffers=True))
