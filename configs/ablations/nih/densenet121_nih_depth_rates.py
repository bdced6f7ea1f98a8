"""DenseNet-121 at small, medium and large rates: 1e-6 below, 1e-5 in the upper two stages, 1e-4 in the head.
Run: cxrdet train densenet121_nih_depth_rates --data-root data/nih
"""
_base_ = '../../densenet121_nih.py'
small, medium = dict(lr_mult=0.01), dict(lr_mult=0.1)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={
        'backbone': small, 'backbone.stages.2': medium, 'backbone.transitions.2': medium,
        'backbone.stages.3': medium, 'backbone.transitions.3': medium}))
