"""ViT-B/16 (86 M parameters) with ImageNet weights of torchvision on NIH ChestX-ray14.
Run: python tools/train.py configs/vit_b16_nih.py --data-root data/nih
Other weights: --cfg-options model.init_cfg.checkpoint=vit.safetensors model.init_cfg.source=timm
"""
_base_ = [
    './_base_/models/multilabel_classifier.py', './_base_/datasets/nih_224_vit.py',
    './_base_/schedules/nih_adamw_30e.py', './_base_/nih_runtime.py'
]
model = dict(
    backbone=dict(type='VisionTransformer', arch='b', img_size=224, patch_size=16, drop_path_rate=0.1),
    neck=None,
    head=dict(in_channels=768),
    init_cfg=dict(
        type='cxrdet.ConvertedPretrained', checkpoint='torchvision://vit_b_16.imagenet1k_v1', source='torchvision'))
