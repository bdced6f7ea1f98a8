"""Run settings that detection and classification configs share.

A training stops when the metric that chooses the best checkpoint gets no better, and ends with the best weights;
--cfg-options early_stop=False turns both off, patience=N sets the number of validations.
"""
custom_imports = dict(imports=['cxrdet'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=10),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='cxrdet.CheckpointHook', interval=1, max_keep_ckpts=2, rule='greater'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    reproducible=dict(type='cxrdet.ReproducibleHook'),
    history=dict(type='cxrdet.HistoryHook'),
    non_finite_loss=dict(type='cxrdet.NonFiniteLossHook'),
    early_stopping=dict(type='cxrdet.EarlyStoppingHook', patience=5, enabled=True),
    restore_best=dict(type='cxrdet.RestoreBestHook', enabled=True))
runtime_shortcuts = dict(
    early_stop=['default_hooks.early_stopping.enabled', 'default_hooks.restore_best.enabled'],
    patience=['default_hooks.early_stopping.patience'])

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
randomness = dict(seed=0)

log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
