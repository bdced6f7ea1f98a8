"""The detector for two cores and images of about 100 px: a narrow ResNet-18 at stride 8, 96 channels, from nothing."""
_base_ = './model.py'
dims = 96
model = dict(
    backbone=dict(
        _delete_=True, type='mmdet.ResNet', depth=18, base_channels=24, num_stages=3, strides=(1, 2, 1),
        dilations=(1, 1, 1), out_indices=(2, ), norm_eval=False, style='pytorch',
        init_cfg=[dict(type='Kaiming', layer='Conv2d'), dict(type='Constant', val=1, layer='BatchNorm2d')]),
    neck=dict(in_channels=[96], out_channels=dims, num_outs=1),
    text_encoder=dict(vocabulary_size=200, dims=dims, num_layers=1),
    fusion=dict(dims=dims, feedforward_dims=192),
    decoder=dict(dims=dims, feedforward_dims=192))
