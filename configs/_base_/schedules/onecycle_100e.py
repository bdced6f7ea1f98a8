"""AdamW, one cycle over 100 epochs: from 2e-5 up to 5e-4 in the first tenth, then down along a cosine to 2e-9."""
_base_ = './adamw_1e-4_cosine_100e.py'
max_epochs = 100
lr = 5e-4
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [
    dict(type='OneCycleLR', eta_max=lr, pct_start=0.1, total_steps=max_epochs, by_epoch=True,
         convert_to_iter_based=True),
]
schedule_shortcuts = dict(
    max_epochs=['train_cfg.max_epochs', 'param_scheduler.0.total_steps'],
    lr=['optim_wrapper.optimizer.lr', 'param_scheduler.0.eta_max'])
