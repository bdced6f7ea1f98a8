"""Phase 2, on top of phase 1: EfficientNet-B4, BiFPN, CBAM on P3-P5, regularised box head, images of six sizes.
Run: cxrdet train faster_rcnn_cell_phase2 --data-root data/cell
"""
_base_ = ['./faster_rcnn_cell_phase1.py', '../../_base_/backbones/efficientnet_b4.py']
cbam = dict(type='cxrdet.CBAM', ratio=8, kernel_size=7)
model = dict(
    backbone={{_base_.backbone}},
    neck=dict(_delete_=True, type='cxrdet.BiFPN', in_channels={{_base_.backbone_channels}}, out_channels=256,
              num_layers=3, num_outs=5, attention=[None, cbam, cbam, cbam, None]),
    roi_head=dict(bbox_head=dict(type='cxrdet.RegularizedBBoxHead', dropout=0.3, l2=1e-4)))
sizes = [(side, side) for side in (480, 512, 544, 576, 608, 640)]
multi_scale = dict(type='RandomChoiceResize', scales=sizes, keep_ratio=True)
train_pipeline = [
    dict(type='cxrdet.LoadImage'), dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(640, 640), keep_ratio=True), {{_base_.albu}}, multi_scale, dict(type='PackDetInputs')]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
