"""ViT-B/16, 86 M parameters, with ImageNet weights of torchvision."""
_base_ = './multilabel_classifier.py'
model = dict(
    backbone=dict(type='VisionTransformer', arch='b', img_size=224, patch_size=16, drop_path_rate=0.1),
    neck=None,
    head=dict(in_channels=768),
    init_cfg=dict(
        type='cxrdet.ConvertedPretrained', checkpoint='torchvision://vit_b_16.imagenet1k_v1', source='torchvision'))
