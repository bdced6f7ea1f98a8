"""The detector: Swin-T, projected to 256 channels, a transformer over words, one fusion layer, 20 queries.

A variant gives another backbone and, in neck.in_channels, its channels, or other dims in all parts.
"""
dims = 256
model = dict(
    type='cxrdet.OpenVocabularyDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True,
        pad_size_divisor=32),
    backbone=dict(
        type='cxrdet.SwinTransformer', drop_path_rate=0.2, out_indices=(2, 3), init_cfg=dict(
            type='cxrdet.ConvertedPretrained', checkpoint='torchvision://swin_t.imagenet1k_v1', source='torchvision')),
    neck=dict(
        type='ChannelMapper', in_channels=[384, 768], kernel_size=1, out_channels=dims, act_cfg=None,
        norm_cfg=None, num_outs=2),
    text_encoder=dict(type='cxrdet.WordTransformer', vocabulary_size=20000, dims=dims, num_layers=2),
    fusion=dict(type='cxrdet.FusionLayer', dims=dims, feedforward_dims=512),
    decoder=dict(type='cxrdet.QueryDecoder', dims=dims, num_queries=20, num_layers=2, feedforward_dims=512),
    loss=dict(type='cxrdet.PhraseLoss'))
