"""A cell set in COCO format, 640 px, where cells of other images are pasted into every second image."""
_base_ = './cell_coco.py'

train_pipeline = [
    dict(type='cxrdet.BoxCopyPaste', prob=0.5, max_objects=3),
    {{_base_.flip}},
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='MultiImageMixDataset',
        dataset=dict(
            type='cxrdet.CellDataset',
            data_root={{_base_.data_root}},
            ann_file='annotations/train.json',
            data_prefix=dict(img='images/'),
            pipeline={{_base_.load_pipeline}}),
        pipeline=train_pipeline))
