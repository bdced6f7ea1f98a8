"""Run settings of detectors trained from random weights: channels-last memory, averaged weights (EMA)."""
_base_ = './default_runtime.py'

default_hooks = dict(
    channels_last=dict(type='cxrdet.ChannelsLastHook'),
    ema=dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.01, gamma=100, update_buffers=True))
