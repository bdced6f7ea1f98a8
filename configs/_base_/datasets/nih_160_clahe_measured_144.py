"""The films of nih_160_clahe.py, measured at 144 px. Another size: --cfg-options test_size=160."""
_base_ = './nih_160_clahe.py'
test_size = 144
test_pipeline = [
    dict(type='cxrdet.LoadImage', cache=True, transforms=[dict(type='cxrdet.CLAHE')]),
    dict(type='Resize', scale=test_size, interpolation='area'),
    dict(type='PackInputs', meta_keys={{_base_.meta_keys}}),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_shortcuts = dict(test_size=['val_dataloader.dataset.pipeline.1.scale', 'test_dataloader.dataset.pipeline.1.scale'])
