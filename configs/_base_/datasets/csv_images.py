"""Images of one class each, listed in a CSV: DATA_ROOT/metadata.csv (path, label, split) and DATA_ROOT/label2id.json.

The classes and their number come from the JSON. 224 px, normalised as torchvision's ImageNet weights expect it. Random
crops, and all eight ways to turn and mirror a square, which is right for cells under the microscope; for pictures that
have an up and a down put RandomFlip in place of D4. Colours are left alone since a stain carries meaning. Pillow's
bicubic resizing is smooth both ways; OpenCV's "area" makes blocks of crops that are enlarged. Decoded images are kept
in memory, up to 512 MB a worker.
Columns of other names: --cfg-options columns.path=file columns.label=cell_type. Without a split column, rows are dealt
out by split_seed and shares; see cxrdet.CSVImageDataset.
"""
data_root = 'data/csv/'
img_size = 224
batch_size = 32
num_workers = 1
pin_memory = False
columns = dict()
meta_keys = ('img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction', 'group')
shares = dict(train=0.8, val=0.2)
split_seed = 0

data_preprocessor = dict(
    type='ClsDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)

load_pipeline = [
    dict(type='cxrdet.LoadImage', cache=True),
    dict(type='Resize', scale=img_size, backend='pillow', interpolation='bicubic'),
]
train_pipeline = [
    *load_pipeline,
    dict(type='RandomResizedCrop', scale=img_size, crop_ratio_range=(0.5, 1.0)),
    dict(type='Albumentations', transforms=[dict(type='D4', p=1.0)]),
    dict(type='PackInputs'),
]
val_pipeline = [*load_pipeline, dict(type='PackInputs', meta_keys=meta_keys)]
# With --tta the mean over the eight ways to turn and mirror a square.
tta_views = dict(type='TestTimeAug', transforms=[
    [dict(type='RandomFlip', prob=0.),
     *[dict(type='RandomFlip', prob=1., direction=way) for way in ('horizontal', 'vertical', 'diagonal')]],
    [dict(type='Albumentations', transforms=[dict(type='Transpose', p=p)]) for p in (0., 1.)],
    [dict(type='PackInputs', meta_keys=meta_keys)]])
tta_pipeline = [*load_pipeline, tta_views]
tta_model = dict(type='cxrdet.MeanScoreTTAModel')

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    pin_memory=pin_memory,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='cxrdet.CSVImageDataset',
        data_root=data_root,
        ann_file='metadata.csv',
        label2id='label2id.json',
        split='train',
        columns=columns,
        shares=shares,
        split_seed=split_seed,
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=64,
    num_workers=num_workers,
    pin_memory=pin_memory,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='cxrdet.CSVImageDataset',
        data_root=data_root,
        ann_file='metadata.csv',
        label2id='label2id.json',
        split='val',
        columns=columns,
        shares=shares,
        split_seed=split_seed,
        test_mode=True,
        pipeline=val_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(type='cxrdet.ConfusionMatrixMetric')
test_evaluator = val_evaluator

# One name on the command line for what stands in several places: --cfg-options img_size=128 batch_size=8
data_shortcuts = dict(
    img_size=['train_dataloader.dataset.pipeline.1.scale', 'train_dataloader.dataset.pipeline.2.scale',
              'val_dataloader.dataset.pipeline.1.scale', 'test_dataloader.dataset.pipeline.1.scale',
              'tta_pipeline.1.scale'],
    batch_size=['train_dataloader.batch_size'],
    num_workers=['train_dataloader.num_workers', 'val_dataloader.num_workers', 'test_dataloader.num_workers'],
    pin_memory=['train_dataloader.pin_memory', 'val_dataloader.pin_memory', 'test_dataloader.pin_memory'],
    columns=['train_dataloader.dataset.columns', 'val_dataloader.dataset.columns', 'test_dataloader.dataset.columns'],
    shares=['train_dataloader.dataset.shares', 'val_dataloader.dataset.shares', 'test_dataloader.dataset.shares'],
    split_seed=['train_dataloader.dataset.split_seed', 'val_dataloader.dataset.split_seed',
                'test_dataloader.dataset.split_seed'])
