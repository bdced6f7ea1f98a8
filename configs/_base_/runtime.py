"""Run settings that detection and classification configs share."""
custom_imports = dict(imports=['cxrdet'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=10),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='cxrdet.CheckpointHook', interval=1, max_keep_ckpts=2, rule='greater'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    reproducible=dict(type='cxrdet.ReproducibleHook'),
    history=dict(type='cxrdet.HistoryHook'),
    non_finite_loss=dict(type='cxrdet.NonFiniteLossHook'))

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
randomness = dict(seed=0)

log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
