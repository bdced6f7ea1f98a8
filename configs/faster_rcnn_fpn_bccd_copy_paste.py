"""The baseline on BCCD with cells of other images pasted into every second image.
Run: python tools/train.py configs/faster_rcnn_fpn_bccd_copy_paste.py --data-root data/bccd
"""
_base_ = './faster_rcnn_fpn_bccd.py'
load_pipeline = [
    dict(type='cxrdet.LoadImage'), dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=(416, 320), ratio_range=(0.9, 1.15), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(320, 416))]
flip = dict(type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal'])
cells = dict(
    type='cxrdet.CellVOCDataset', data_root={{_base_.data_root}}, ann_file='ImageSets/Main/train.txt',
    data_prefix=dict(img='JPEGImages/', ann='Annotations/'), metainfo=dict(classes=('RBC', 'WBC', 'Platelets')),
    pipeline=load_pipeline)
train_dataloader = dict(
    dataset=dict(_delete_=True, type='MultiImageMixDataset', dataset=cells, pipeline=[
        dict(type='cxrdet.BoxCopyPaste', prob=0.5, max_objects=3), flip, dict(type='PackDetInputs')]))
