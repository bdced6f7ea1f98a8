"""EfficientNet-Lite0 on listed images at 128 px in 500 steps, for learning curves.
Run: cxrdet train efficientnet_lite0_csv_500_steps --data-root data/crops --train-limit 60
"""
_base_ = ['../../efficientnet_lite0_csv.py', '../../_base_/mods/iterations.py']
train_cfg = {{_base_.iterations.train_cfg}}
train_dataloader = {{_base_.iterations.train_dataloader}}
param_scheduler = {{_base_.iterations.param_scheduler}}
default_hooks = {{_base_.iterations.default_hooks}}
log_processor = {{_base_.iterations.log_processor}}
iterations_shortcuts = {{_base_.iterations.iterations_shortcuts}}
