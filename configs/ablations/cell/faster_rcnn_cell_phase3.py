"""Phase 3, on top of phase 2: OHEM 0.7, medical preprocessing; and TTA, medical weights, an ensemble of three.
Run: cxrdet train faster_rcnn_cell_phase3 --data-root data/cell
Medical weights, of a classifier with this backbone: --cfg-options model.backbone.init_cfg.source=cxrdet \\
    model.backbone.init_cfg.checkpoint=FILE; left out, they are ImageNet's.
TTA, five views: cxrdet test faster_rcnn_cell_phase3 CHECKPOINT --data-root data/cell --tta
The ensemble: train it with three backbones, then cxrdet test --ensemble A.py:a.pth B.py:b.pth C.py:c.pth --tta
"""
_base_ = './faster_rcnn_cell_phase2.py'
focal = dict(type='cxrdet.RoIFocalLoss', gamma=2.0, alpha=0.25)
model = dict(
    data_preprocessor=dict(mean=[0, 0, 0], std=[1, 1, 1]),
    roi_head=dict(bbox_head=dict(loss_cls=dict(_delete_=True, type='cxrdet.OHEMLoss', loss=focal, keep=0.7))))
load = [dict(type='cxrdet.LoadImage',
             transforms=[dict(type='cxrdet.CLAHE'), dict(type='cxrdet.Denoise'), dict(type='cxrdet.Sharpen')]),
        dict(type='LoadAnnotations', with_bbox=True), dict(type='Resize', scale=(640, 640), keep_ratio=True)]
zscore = dict(type='cxrdet.ZScore')
train_dataloader = dict(dataset=dict(pipeline=[
    *load, {{_base_.albu}}, {{_base_.multi_scale}}, zscore, dict(type='PackDetInputs')]))
val_dataloader = dict(dataset=dict(pipeline=[*load, zscore, {{_base_.pack}}]))
test_dataloader = val_dataloader
