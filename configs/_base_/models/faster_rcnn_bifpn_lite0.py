"""A Faster R-CNN for a few CPU cores: EfficientNet-Lite0 with ImageNet weights from pip, BiFPN of 128 channels.

The statistics of the backbone's batch norms stay those of ImageNet: batches of two would give poor ones.
"""
_base_ = ['./faster_rcnn_r18_fpn.py', '../backbones/efficientnet_lite0.py']

model = dict(
    backbone={{_base_.backbone}},
    neck=dict(
        _delete_=True, type='cxrdet.BiFPN', in_channels={{_base_.backbone_channels}}, out_channels=128, num_layers=2,
        num_outs=5, norm_cfg=dict(type='BN')),
    data_preprocessor={{_base_.backbone_preprocessor}})
