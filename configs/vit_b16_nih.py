"""ViT-B/16 (86 M parameters) with ImageNet weights of torchvision on NIH ChestX-ray14.
Run: cxrdet train vit_b16_nih --data-root data/nih
Other weights: --cfg-options model.init_cfg.checkpoint=vit.safetensors model.init_cfg.source=timm
"""
_base_ = [
    './_base_/models/vit_b16_multilabel.py', './_base_/datasets/nih_224_vit.py',
    './_base_/schedules/nih_adamw_30e.py', './_base_/nih_runtime.py'
]
