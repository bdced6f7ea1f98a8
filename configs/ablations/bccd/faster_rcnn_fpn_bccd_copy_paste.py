"""The baseline on BCCD with cells of other images pasted into every second image.
Run: cxrdet train faster_rcnn_fpn_bccd_copy_paste --data-root data/bccd
"""
_base_ = '../../faster_rcnn_fpn_bccd.py'
paste = dict(type='cxrdet.BoxCopyPaste', prob=0.5, max_objects=3)
cells = dict(
    type='cxrdet.CellVOCDataset', data_root={{_base_.data_root}}, ann_file='ImageSets/Main/train.txt',
    data_prefix=dict(img='JPEGImages/', ann='Annotations/'), metainfo=dict(classes=('RBC', 'WBC', 'Platelets')),
    pipeline={{_base_.load_pipeline}})
train_dataloader = dict(
    dataset=dict(_delete_=True, type='MultiImageMixDataset', dataset=cells,
                 pipeline=[paste, {{_base_.flip}}, dict(type='PackDetInputs')]))
