"""The made-up set of shapes and sentences, 96 px: python projects/open_vocabulary/tools/make_phantoms.py data/shapes"""
_base_ = './grounding_data.py'
data_root = 'data/shapes/'
train_pipeline = [
    dict(type='cxrdet.LoadImage', cache=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='cxrdet.NegativePhrases', count=2),
    dict(type='PackDetInputs', meta_keys={{_base_.meta_keys}}),
]
val_pipeline = [
    dict(type='cxrdet.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys={{_base_.meta_keys}}),
]
train_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, max_phrases=10, pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, max_phrases=10, pipeline=val_pipeline))
test_dataloader = val_dataloader
