"""Faster R-CNN, BiFPN, on a DenseNet-121 that starts from a published CheXNet checkpoint (trained on chest films).
Run: cxrdet train faster_rcnn_bifpn_densenet121_chexnet_cell --data-root data/cell

The file is data/chexnet.pth.tar, another one: --cfg-options pretrained=FILE. The whole backbone is taken from it, or
the run stops.
"""
_base_ = './ablations/cell/faster_rcnn_fpn_densenet121_cell.py'
model = dict(
    backbone=dict(init_cfg=dict(checkpoint='data/chexnet.pth.tar', source='chexnet')),
    neck=dict(_delete_=True, type='cxrdet.BiFPN', in_channels=[256, 512, 1024, 1024], out_channels=256, num_layers=3,
              num_outs=5))
model_shortcuts = dict(pretrained=['model.backbone.init_cfg.checkpoint'])
