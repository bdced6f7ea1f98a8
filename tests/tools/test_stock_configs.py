"""Stock configs of MMDetection and MMPretrain with one part of ours each: one step and one validation by the tool.

The data lie as COCO and ImageNet are published; apart from the part, and from sizes, the config is as it comes.
"""
import json

import cv2
import numpy as np
import pytest

from cxrdet.checkpoints.checkpoint import Checkpoint
from cxrdet.core.history import read_history

ONE_STEP = ['train_cfg.max_epochs=1', 'train_dataloader.batch_size=2',
            *(f'{split}_dataloader.{key}' for split in ('train', 'val', 'test')
              for key in ('num_workers=0', 'batch_size=1') if (split, key) != ('train', 'batch_size=1'))]
SMALL = ['train_dataloader.dataset.pipeline.2.scale=(64,64)', 'val_dataloader.dataset.pipeline.1.scale=(64,64)',
         'test_dataloader.dataset.pipeline.1.scale=(64,64)']
SMALL_YOLOX = ['train_dataloader.dataset.pipeline.0.img_scale=(64,64)',
               'train_dataloader.dataset.pipeline.1.border=(-32,-32)',
               'train_dataloader.dataset.pipeline.4.scale=(64,64)', *SMALL[1:]]
THIN = ['model.backbone.base_channels=16', 'model.neck.in_channels=[64,128,256,512]']
TINY_IMAGES = ['train_dataloader.dataset.pipeline.1.scale=32', 'val_dataloader.dataset.pipeline.1.scale=32',
               'val_dataloader.dataset.pipeline.2.crop_size=32']

FOCAL = "model = dict(roi_head=dict(bbox_head=dict(loss_cls=dict(_delete_=True, type='cxrdet.RoIFocalLoss'))))"
BIFPN = """
model = dict(neck=dict(_delete_=True, type='cxrdet.BiFPN', in_channels=[64, 128, 256, 512], out_channels=64,
                       num_layers=1, start_level=1, num_outs=5),
             bbox_head=dict(in_channels=64, feat_channels=64))"""
CELLS = """
train_dataloader = dict(dataset=dict(type='cxrdet.CellDataset'))
val_dataloader = dict(dataset=dict(type='cxrdet.CellDataset'))
test_dataloader = val_dataloader"""
METRIC = "val_evaluator = dict(_delete_=True, type='cxrdet.DetectionMetric')\ntest_evaluator = val_evaluator"
HISTORY = """
custom_hooks = [dict(type='cxrdet.HistoryHook'),
                dict(type='cxrdet.EarlyStoppingHook', monitor='coco/bbox_mAP', rule='greater')]"""
DETECTORS = {  # stock config: (lines of the variant, options)
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py': (
        FOCAL, [*THIN, *SMALL, 'model.roi_head.bbox_head.fc_out_channels=32', 'model.test_cfg.rcnn.score_thr=0']),
    'retinanet/retinanet_r18_fpn_1x_coco.py': (BIFPN, SMALL),
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py': (CELLS, [*THIN, *SMALL]),
    'atss/atss_r50_fpn_1x_coco.py': (METRIC, [*THIN, *SMALL]),
    'yolox/yolox_tiny_8xb8-300e_coco.py': (HISTORY, SMALL_YOLOX)}

ECA = "model = dict(backbone=dict(_delete_=True, type='cxrdet.ResNet18ECA'))"
CBAM = """
model = dict(backbone=dict(
    _delete_=True, type='cxrdet.with_attention', attention=[None, None, None, dict(type='cxrdet.CBAM')],
    backbone=dict(type='mmpretrain.ResNeXt', depth=50, base_channels=16, groups=8, width_per_group=2)),
    head=dict(in_channels=512))"""
FINDINGS = """
model = dict(head=dict(_delete_=True, type='cxrdet.MultiLabelHead', num_classes=9, in_channels=1024,
                       loss=dict(type='cxrdet.MaskedFocalLoss')))
films = dict(_delete_=True, type='cxrdet.NIHChestXray14', data_root='data/chest',
             metainfo=dict(classes=('Atelectasis', 'Cardiomegaly', 'Consolidation', 'Effusion', 'Infiltration', 'Mass',
                                    'Nodule', 'Pneumothorax', 'No Finding')))
pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=64), dict(type='PackInputs')]
train_dataloader = dict(dataset=dict(films, split_file='train_val_list.txt', pipeline=pipeline))
val_dataloader = dict(dataset=dict(films, split_file='test_list.txt', pipeline=pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='cxrdet.MultiLabelMetric')
test_evaluator = val_evaluator"""
LOOKAHEAD = """
optim_wrapper = dict(optimizer=dict(_delete_=True, type='cxrdet.Lookahead', inner=dict(type='AdamW'), lr=1e-4,
                                    weight_decay=0.05))
param_scheduler = []"""
CHECKPOINT = "default_hooks = dict(checkpoint=dict(type='cxrdet.CheckpointHook', save_best='accuracy/top1'))"
CLASSIFIERS = {
    'resnet/resnet18_8xb32_in1k.py': (ECA, TINY_IMAGES),
    'resnext/resnext50-32x4d_8xb32_in1k.py': (CBAM, TINY_IMAGES),
    'densenet/densenet121_4xb256_in1k.py': (FINDINGS, ['optim_wrapper.optimizer.lr=1e-4']),
    'deit/deit-tiny_4xb256_in1k.py': (LOOKAHEAD, [
        *TINY_IMAGES, 'model.backbone.img_size=32', 'model.backbone.drop_path_rate=0.1']),
    'mobilenet_v2/mobilenet-v2_8xb32_in1k.py': (CHECKPOINT, TINY_IMAGES)}


@pytest.fixture(scope='module')
def coco(cell_phantoms, tmp_path_factory):
    """The made-up cells as the COCO set lies, with its 80 classes: annotations/instances_train2017.json, train2017/."""
    from mmdet.datasets import CocoDataset
    folder = tmp_path_factory.mktemp('data') / 'coco'
    (folder / 'annotations').mkdir(parents=True)
    for split in ('train', 'val'):
        content = json.loads((cell_phantoms / 'annotations' / f'{split}.json').read_text())
        known = [category['id'] for category in content['categories']]
        numbers = [*known, *(n for n in range(1, 1000) if n not in known)]
        content['categories'] = [dict(id=n, name=name) for n, name in zip(numbers, CocoDataset.METAINFO['classes'])]
        (folder / 'annotations' / f'instances_{split}2017.json').write_text(json.dumps(content))
        (folder / f'{split}2017').symlink_to(cell_phantoms / 'images')
    return folder


@pytest.fixture(scope='module')
def imagenet(tmp_path_factory):
    """Noise as ImageNet lies: train/, val/, and meta/ with the label of each image."""
    folder, rng = tmp_path_factory.mktemp('imagenet'), np.random.default_rng(0)
    (folder / 'meta').mkdir()
    for split in ('train', 'val'):
        (folder / split).mkdir()
        for n in range(2):
            cv2.imwrite(str(folder / split / f'{n}.png'), rng.integers(0, 256, (40, 48, 3), np.uint8))
        (folder / 'meta' / f'{split}.txt').write_text('0.png 3\n1.png 7\n')
    return folder


@pytest.fixture(scope='module')
def train(tool, tmp_path_factory):
    """Train a variant of a stock config; the work folder."""
    def run(base, lines, data_root, options):
        folder = tmp_path_factory.mktemp('variant')
        config = folder / 'variant.py'
        config.write_text(f"_base_ = '{base}'\ncustom_imports = dict(imports=['cxrdet'])\n{lines}\n")
        assert tool('train').main([
            str(config), '--data-root', str(data_root), '--work-dir', str(folder / 'run'), '--from-scratch',
            '--train-limit', '2', '--valid-limit', '1', '--cfg-options', *ONE_STEP, *options]) == 0
        return folder / 'run'
    return run


def scalars(run):
    path, = run.glob('*/vis_data/scalars.json')
    return {key: value for line in path.read_text().splitlines() for key, value in json.loads(line).items()}


@pytest.mark.parametrize('base', DETECTORS)
def test_detectors(train, coco, base):
    lines, options = DETECTORS[base]
    run = train(f'mmdet::{base}', lines, coco, [*options, 'default_hooks.logger.interval=1'])
    checkpoint, logged = Checkpoint.read(next(run.glob('*epoch_1.pth'))).content, scalars(run)
    assert np.isfinite(logged['loss'])
    assert len(checkpoint['meta']['dataset_meta']['classes']) == 80
    if lines == BIFPN:
        assert any('neck' in key and 'fus' in key for key in checkpoint['state_dict'])
    if lines == METRIC:
        assert 'coco/F1' in logged
    if lines == HISTORY:
        assert read_history(run)[0]['epoch'] == 1


@pytest.mark.parametrize('base', CLASSIFIERS)
def test_classifiers(train, imagenet, tmp_path, base):
    lines, options = CLASSIFIERS[base]
    data_root = imagenet
    if lines == FINDINGS:
        from cxrdet.datasets.phantoms import write_chest_phantoms
        data_root = tmp_path / 'chest'
        write_chest_phantoms(data_root, num_images=12, size=64)
    run = train(f'mmpretrain::{base}', lines, data_root, [*options, 'default_hooks.logger.interval=1'])
    logged = scalars(run)
    assert np.isfinite(logged['loss'])
    assert 'accuracy/top1' in logged or lines == FINDINGS
