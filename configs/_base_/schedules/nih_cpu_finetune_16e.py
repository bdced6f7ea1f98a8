"""Classifiers of films from pretrained weights on a few CPU cores: AdamW, one cycle up to 1e-3 over 16 epochs of 16."""
_base_ = './cpu_24e.py'
max_epochs = 16
train_cfg = dict(max_epochs=max_epochs, val_interval=4)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=1e-3, total_steps=max_epochs, by_epoch=True, convert_to_iter_based=True)]
auto_scale_lr = dict(base_batch_size=16)
schedule_shortcuts = dict(
    max_epochs=['train_cfg.max_epochs', 'param_scheduler.0.total_steps'], lr=['param_scheduler.0.eta_max'])
