"""Pre-activation ResNet-152 (He et al., arXiv 1603.05027) of timm, from random weights: timm has none for this depth.

Takes `pip install "cxrdet[timm]"`. The maps are the sums at the ends of the stages, before the norm and ReLU with which
the next one begins, so a neck should have a norm: BiFPN does, FPN by norm_cfg=dict(type='BN'). With ImageNet weights:
model_name='resnetv2_101', pretrained=True (or 50), which has the same channels.
"""
backbone = dict(
    _delete_=True,
    type='mmpretrain.TIMMBackbone',
    model_name='resnetv2_152',
    features_only=True,
    out_indices=(1, 2, 3, 4))
backbone_channels = [256, 512, 1024, 2048]
backbone_strides = [4, 8, 16, 32]
backbone_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])  # RGB, as timm has it
