"""Faster R-CNN, EfficientNet-Lite0, BiFPN on BCCD in 500 steps, for learning curves.
Run: cxrdet train faster_rcnn_bifpn_lite0_bccd_500_steps --data-root data/bccd --train-limit 60
"""
_base_ = ['../../faster_rcnn_bifpn_lite0_bccd.py', '../../_base_/mods/iterations.py']
train_cfg = {{_base_.iterations.train_cfg}}
train_dataloader = {{_base_.iterations.train_dataloader}}
param_scheduler = {{_base_.iterations.param_scheduler}}
default_hooks = {{_base_.iterations.default_hooks}}
log_processor = {{_base_.iterations.log_processor}}
iterations_shortcuts = {{_base_.iterations.iterations_shortcuts}}
