"""A training of 500 steps, however many images there are: for small sets and to compare sizes of sets. Any recipe.

Warm-up over 50 steps, then a cosine; measured once, at the end. Another number: --cfg-options max_iters=300.
"""
max_iters = 500
iterations = dict(
    train_cfg=dict(_delete_=True, type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters),
    train_dataloader=dict(sampler=dict(_delete_=True, type='InfiniteSampler')),
    param_scheduler=[
        dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
        dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=False, begin=0, end=max_iters)],
    default_hooks=dict(checkpoint=dict(by_epoch=False, interval=max_iters)),
    log_processor=dict(by_epoch=False),
    iterations_shortcuts=dict(max_iters=[
        'train_cfg.max_iters', 'train_cfg.val_interval', 'param_scheduler.1.end',
        'default_hooks.checkpoint.interval']))
