"""Classifiers of films from pretrained weights on a few CPU cores: one cycle up to 1e-3, 10 epochs in batches of 16."""
_base_ = './cpu_24e.py'
max_epochs = 10
lr = 1e-3
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [
    dict(type='OneCycleLR', eta_max=lr, total_steps=max_epochs, by_epoch=True, convert_to_iter_based=True)]
auto_scale_lr = dict(base_batch_size=16)
schedule_shortcuts = dict(
    max_epochs=['train_cfg.max_epochs', 'param_scheduler.0.total_steps'],
    lr=['optim_wrapper.optimizer.lr', 'param_scheduler.0.eta_max'])
