"""The detector for many objects on two cores: EfficientNet-Lite0 with ImageNet weights from pip, strides 16 and 32,
192 channels, 100 queries."""
_base_ = ['./model.py', '../../../../configs/_base_/backbones/efficientnet_lite0.py']
dims = 192
model = dict(
    data_preprocessor={{_base_.backbone_preprocessor}},
    backbone=dict(
        _delete_=True, type='cxrdet.EfficientNetLite', arch='lite0', out_indices=(4, 5), norm_eval=True,
        init_cfg={{_base_.weights}}),
    neck=dict(in_channels=[112, 320], out_channels=dims),
    text_encoder=dict(vocabulary_size=200, dims=dims, num_layers=1),
    fusion=dict(dims=dims, feedforward_dims=384),
    decoder=dict(dims=dims, num_queries=100, feedforward_dims=384))
