"""NIH ChestX-ray14, 14 findings and No Finding, at 224 px: DATA_ROOT/{train_list,val_list,test_list}.txt and the films.

`cxrdet prepare-data nih TABLE IMAGES DATA_ROOT` makes such a folder, split by patient.
"""
data_root = 'data/nih/'
meta_keys = ('img_path', 'img_id', 'ori_shape', 'img_shape', 'patient_id', 'view', 'age', 'sex')

train_pipeline = [
    dict(type='cxrdet.LoadImage'),
    dict(type='Resize', scale=224, interpolation='area'),
    dict(type='cxrdet.ChestAugment', hflip=True),
    dict(type='PackInputs', meta_keys=meta_keys),
]
val_pipeline = [
    dict(type='cxrdet.LoadImage'),
    dict(type='Resize', scale=224, interpolation='area'),
    dict(type='PackInputs', meta_keys=meta_keys),
]

data_preprocessor = dict(
    type='ClsDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)

train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='cxrdet.NIHChestXray14',
        data_root=data_root,
        ann_file='',
        split_file='train_list.txt',
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='cxrdet.NIHChestXray14',
        data_root=data_root,
        ann_file='',
        split_file='val_list.txt',
        test_mode=True,
        pipeline=val_pipeline))
test_dataloader = val_dataloader | dict(dataset=val_dataloader['dataset'] | dict(split_file='test_list.txt'))

val_evaluator = dict(type='cxrdet.MultiLabelMetric')
test_evaluator = val_evaluator

# One name on the command line for what stands in several places: --cfg-options img_size=320
data_shortcuts = dict(img_size=[f'{split}_dataloader.dataset.pipeline.1.scale' for split in ('train', 'val', 'test')])
