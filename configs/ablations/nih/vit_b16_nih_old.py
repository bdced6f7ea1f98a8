"""ViT-B/16 by an old project's recipe: Adam 1e-4, batches of 16, 10 epochs, mean and deviation 0.5, ImageNet-21k.
Run: cxrdet train vit_b16_nih_old --data-root data/nih

The weights are timm's vit_base_patch16_224.augreg_in21k, in a file; mean and deviation of 0.5 belong to them.
"""
_base_ = [
    '../../_base_/models/vit_b16_multilabel.py', '../../_base_/datasets/nih_224_vit.py',
    '../../_base_/schedules/nih_adamw_10e.py', '../../_base_/nih_val_loss_runtime.py'
]
model = dict(
    backbone=dict(drop_path_rate=0.0), init_cfg=dict(checkpoint='data/vit_base_in21k.safetensors', source='timm'))
data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
train_dataloader = dict(batch_size=16)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=1e-4))
auto_scale_lr = dict(base_batch_size=16)
