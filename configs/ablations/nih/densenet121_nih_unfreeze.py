"""DenseNet-121 set free by stages: epochs 1-3 the head, 4-6 the top two stages, from 7 on all at a tenth of the rate.
Run: cxrdet train densenet121_nih_unfreeze --data-root data/nih
"""
_base_ = '../../densenet121_nih.py'
default_hooks = dict(
    unfreeze=dict(
        type='cxrdet.GradualUnfreezeHook',
        stages=[dict(begin=1, parts=['head']), dict(begin=4, parts=['head', 'top2']),
                dict(begin=7, parts=['all'], lr_mult=0.1)]),
    early_stopping=dict(patience=7))
find_unused_parameters = True
