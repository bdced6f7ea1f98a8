"""faster_rcnn_cell_phase3.py for BCCD on two CPU cores, after phase 2: OHEM 0.7 and medical preprocessing.
Run: cxrdet train faster_rcnn_bccd_phase3 --data-root data/bccd --from-scratch
"""
_base_ = './faster_rcnn_bccd_phase2.py'
focal = dict(type='cxrdet.RoIFocalLoss', gamma=2.0, alpha=0.25)
model = dict(
    data_preprocessor=dict(mean=[0, 0, 0], std=[1, 1, 1]),
    roi_head=dict(bbox_head=dict(loss_cls=dict(_delete_=True, type='cxrdet.OHEMLoss', loss=focal, keep=0.7))))
clean = [dict(type='cxrdet.CLAHE'), dict(type='cxrdet.Denoise'), dict(type='cxrdet.Sharpen')]
load = [dict(type='cxrdet.LoadImage', cache=True, transforms=clean),
        dict(type='LoadAnnotations', with_bbox=True), dict(type='Resize', scale=(320, 240), keep_ratio=True)]
zscore = dict(type='cxrdet.ZScore')
train_dataloader = dict(dataset=dict(pipeline=[
    *load, {{_base_.albu}}, {{_base_.multi_scale}}, zscore, dict(type='PackDetInputs')]))
val_dataloader = dict(dataset=dict(pipeline=[*load, zscore, {{_base_.pack}}]))
test_dataloader = val_dataloader
