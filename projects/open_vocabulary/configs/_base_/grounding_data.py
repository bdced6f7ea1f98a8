"""Images, sentences and boxes as cxrdet.GroundingDataset reads them, at 640x480 px: DATA_ROOT/{annotations,images}.

Nothing is mirrored: "left" would become a lie. cxrdet.MirrorPhrases behind a RandomFlip turns the words as well.
"""
data_root = 'data/grounding/'
meta_keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances', 'phrases', 'phrase_groups')
train_pipeline = [
    dict(type='cxrdet.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='cxrdet.NegativePhrases', count=3),
    dict(type='RandomResize', scale=(640, 480), ratio_range=(0.8, 1.2), keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=meta_keys),
]
val_pipeline = [
    dict(type='cxrdet.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(640, 480), keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=meta_keys),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    persistent_workers=True,
    worker_init_fn=dict(type='cxrdet.worker_init_fn'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='cxrdet.GroundingDataset', data_root=data_root, ann_file='annotations/train.json',
        data_prefix=dict(img='images/'), pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=16,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='cxrdet.GroundingDataset', data_root=data_root, ann_file='annotations/val.json',
        data_prefix=dict(img='images/'), test_mode=True, pipeline=val_pipeline))
test_dataloader = dict(val_dataloader, dataset=dict(val_dataloader['dataset'], ann_file='annotations/test.json'))
val_evaluator = dict(type='cxrdet.PhraseGroundingMetric', samples=0)
test_evaluator = dict(type='cxrdet.PhraseGroundingMetric')
