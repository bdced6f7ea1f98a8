"""The schedule of adamw_1e-3_cosine_100e.py at a tenth of the rate, with weight decay 0.05, for pretrained weights."""
_base_ = './adamw_1e-3_cosine_100e.py'
optim_wrapper = dict(optimizer=dict(lr=1e-4, weight_decay=0.05))
