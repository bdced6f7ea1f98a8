"""PatchCamelyon at its 96 px: DATA_ROOT/camelyonpatch_level_2_split_{train,valid,test}_{x,y}.h5, unpacked.

The files come from https://github.com/basveeling/pcam. Patches may lie any way round; stains differ between hospitals.
"""
data_root = 'data/pcam/'
meta_keys = ('img_path', 'img_id', 'ori_shape', 'img_shape')

train_pipeline = [
    dict(type='Albumentations', transforms=[dict(type='D4', p=1.0)]),
    dict(type='ColorJitter', brightness=0.2, contrast=0.2, saturation=0.2, hue=0.04),
    dict(type='PackInputs', meta_keys=meta_keys),
]
val_pipeline = [dict(type='PackInputs', meta_keys=meta_keys)]

data_preprocessor = dict(
    type='ClsDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)

train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='cxrdet.PatchCamelyon', data_root=data_root, split='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='cxrdet.PatchCamelyon', data_root=data_root, split='valid', test_mode=True, pipeline=val_pipeline))
test_dataloader = val_dataloader | dict(dataset=val_dataloader['dataset'] | dict(split='test'))

# Of one class: the mean is that of "tumour", which has DeLong's interval.
val_evaluator = dict(type='cxrdet.MultiLabelMetric', resamples=0)
test_evaluator = val_evaluator
