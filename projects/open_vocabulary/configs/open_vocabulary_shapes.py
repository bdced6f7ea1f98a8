"""The open-vocabulary detector on made-up shapes and sentences, from nothing, in less than an hour on two CPU cores.
Run: python projects/open_vocabulary/tools/make_phantoms.py data/shapes
     python tools/train.py projects/open_vocabulary/configs/open_vocabulary_shapes.py --data-root data/shapes
"""
_base_ = ['./_base_/model_tiny.py', './_base_/shapes_data.py', './_base_/schedule_fast.py', './_base_/runtime.py']
model = dict(prompt='the red disc . the blue ring')
optim_wrapper = dict(optimizer=dict(lr=1e-3), paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=1.))))
param_scheduler = [dict(type='OneCycleLR', eta_max=1e-3, pct_start=0.1, total_steps={{_base_.max_epochs}},
                        by_epoch=True, convert_to_iter_based=True)]
default_hooks = dict(channels_last=dict(type='cxrdet.ChannelsLastHook'))
