"""faster_rcnn_fpn_bccd_320.py on images after CLAHE, denoising, sharpening and a z-score.
Run: cxrdet train faster_rcnn_fpn_bccd_320_preprocessed --data-root data/bccd
"""
_base_ = './faster_rcnn_fpn_bccd_320.py'
model = dict(data_preprocessor=dict(mean=[0, 0, 0], std=[1, 1, 1]))
clean = [dict(type='cxrdet.CLAHE'), dict(type='cxrdet.Denoise'), dict(type='cxrdet.Sharpen')]
load = [dict(type='cxrdet.LoadImage', cache=True, transforms=clean),
        dict(type='LoadAnnotations', with_bbox=True), dict(type='Resize', scale=(320, 240), keep_ratio=True)]
zscore = dict(type='cxrdet.ZScore')
train_dataloader = dict(dataset=dict(pipeline=[*load, {{_base_.flip}}, zscore, dict(type='PackDetInputs')]))
val_dataloader = dict(dataset=dict(pipeline=[*load, zscore, {{_base_.pack}}]))
test_dataloader = val_dataloader
