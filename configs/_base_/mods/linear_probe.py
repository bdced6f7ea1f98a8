"""The pretrained backbone stays as it is, head and neck learn: what its features are worth. Any recipe."""
linear_probe = dict(
    default_hooks=dict(unfreeze=dict(type='cxrdet.GradualUnfreezeHook', stages=[dict(begin=1, parts=['head'])])),
    find_unused_parameters=True)
