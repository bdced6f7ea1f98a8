"""The schedule of cpu_24e.py for a GPU: batches of 8 images in all, float32 (float16 by --amp), few validations."""
_base_ = './cpu_24e.py'
train_cfg = dict(val_interval=12)
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(_delete_=True, type='AdamW', lr=1.4e-3, weight_decay=0.05, fused=True))
auto_scale_lr = dict(base_batch_size=8)
