"""Averaged weights (EMA), which are what is validated and kept; for long trainings. Any recipe."""
ema = dict(default_hooks=dict(
    ema=dict(type='EMAHook', ema_type='mmdet.ExpMomentumEMA', momentum=0.0002, gamma=2000, update_buffers=True)))
