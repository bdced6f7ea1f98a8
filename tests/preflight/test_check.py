"""The config check: what it must find, what it must leave alone, and what it says."""
import inspect
import json
import re
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, PARAM_SCHEDULERS
from torch import nn

from cxrdet.core.errors import ConfigError
from cxrdet.core.recipes import find_config, recipes
from cxrdet.preflight.check import (
    _multiplied_rates,
    _part,
    _unfreezing_by_epochs,
    advice_before_training,
    check_config,
    config_problems,
    examine,
    takes,
)
from cxrdet.preflight.data import check_run, follow_classes, image_problems, pack_for_metrics

CONFIG = Path(__file__).parents[2] / 'configs' / 'faster_rcnn_bifpn_cell_tiny.py'
TRAIN, VAL = 'train_dataloader.dataset', 'val_dataloader.dataset'


@pytest.fixture(scope='module')
def tiny(cell_phantoms) -> Config:
    """The tiny config on phantoms, without pretrained weights."""
    config = Config.fromfile(CONFIG)
    for mode in ('train', 'val', 'test'):
        put(config, f'{mode}_dataloader.dataset.data_root', str(cell_phantoms))
    put(config, 'model.backbone.init_cfg', None)
    put(config, 'optim_wrapper.type', 'OptimWrapper')
    return config


@pytest.fixture
def cfg(tiny) -> Config:
    return deepcopy(tiny)


def put(config: Config, path: str, value: object) -> None:
    """Set one value by its dotted path."""
    *way, last = (int(word) if word.isdigit() else word for word in path.split('.'))
    for word in way:
        config = config[word]
    config[last] = value


def message(config: Config, mode: str = 'train') -> str:
    with pytest.raises(ConfigError) as caught:
        check_run(config, mode=mode)
    return str(caught.value)


@pytest.mark.parametrize('mode', ['train', 'test'])
def test_a_good_config_passes(cfg, mode):
    check_config(cfg)
    check_run(cfg, mode=mode)


def test_unknown_mode(cfg):
    with pytest.raises(ValueError, match="mode: expected 'train' or 'test', got 'fit'"):
        check_run(cfg, mode='fit')


@pytest.mark.parametrize(('typo', 'meant'), [
    ('modle', 'model'), ('train_dataloder', 'train_dataloader'), ('optim_wraper', 'optim_wrapper'),
    ('param_schedular', 'param_scheduler'), ('val_evalutor', 'val_evaluator'), ('custom_hook', 'custom_hooks'),
    ('randomnes', 'randomness'), ('default_hook', 'default_hooks'), ('load_form', 'load_from'),
    ('workdir', 'work_dir'), ('vis_backend', 'vis_backends'), ('ta_pipeline', 'tta_pipeline'),
])  # yapf: disable
@pytest.mark.parametrize('value', [dict(a=1), 1], ids=['dict', 'number'])
def test_misspelt_top_level_key(cfg, typo, meant, value):
    cfg[typo] = value
    assert config_problems(cfg) == [f'{typo}: nothing reads this top-level key. Did you mean "{meant}"?']


def test_key_set_in_a_config_file(tmp_path):
    """Used helpers pass, a dict that no line uses does not, whatever its name."""
    file = tmp_path / 'variant.py'
    file.write_text(f"_base_ = '{CONFIG}'\nmy_neck = dict(num_outs=5)\nmax_epoch = 3\n"
                    "model = dict(neck=my_neck)\ntrain_cfg = dict(max_epochs=max_epoch * 2)\nleft_over = dict(a=1)\n"
                    "# left_over is not used by this comment\n")
    assert config_problems(Config.fromfile(file)) == ['left_over: nothing reads this top-level key.']


def test_dict_whose_value_is_used_is_a_helper():
    norm = dict(type='BN', requires_grad=True)
    config = Config(dict(default_scope='mmdet', my_norm=norm, lonely=dict(type='BN'), some_number=3,
                         model=dict(type='FPN', in_channels=[8], out_channels=8, num_outs=1, norm_cfg=norm)))
    assert config_problems(config) == ['lonely: nothing reads this top-level key.']


@pytest.mark.parametrize(('path', 'value', 'expected'), [
    ('model.neck.type', 'cxrdet.BiFNP', '"cxrdet.BiFNP" is no known model. Did you mean "cxrdet.BiFPN"?'),
    ('model.neck.type', 'BiFPN', '"BiFPN" is no known model. Did you mean "cxrdet.BiFPN"?'),
    ('model.backbone.type', 'ResNett', '"ResNett" is no known model. Did you mean "ResNet"?'),
    ('model.backbone.type', 'mmpretrian.ResNet', '"mmpretrian.ResNet" is no known model. Did you mean "ResNet"?'),
    ('model.rpn_head.anchor_generator.type', 'AnchorGenerater',
     '"AnchorGenerater" is no known task util. Did you mean "AnchorGenerator"?'),
    ('model.train_cfg.rpn.assigner.type', 'MaxIouAsigner',
     '"MaxIouAsigner" is no known task util. Did you mean "MaxIoUAssigner"?'),
    ('model.roi_head.bbox_roi_extractor.roi_layer.type', 'ROIAlgin',
     '"ROIAlgin" is no known mmcv.ops. Did you mean "RoIAlign"?'),
    ('model.test_cfg.rcnn.nms.type', 'soft_nsm', '"soft_nsm" is no known mmcv.ops.nms. Did you mean "soft_nms"?'),
    (f'{TRAIN}.type', 'CellDataset', '"CellDataset" is no known dataset. Did you mean "cxrdet.CellDataset"?'),
    (f'{TRAIN}.pipeline.3.type', 'RandomFlp', '"RandomFlp" is no known transform. Did you mean "RandomFlip"?'),
    ('val_dataloader.sampler.type', 'DefaultSampeler',
     '"DefaultSampeler" is no known data sampler. Did you mean "DefaultSampler"?'),
    ('optim_wrapper.optimizer.type', 'AdamWW', '"AdamWW" is no known optimizer. Did you mean "AdamW"?'),
    ('optim_wrapper.type', 'OptimWraper', '"OptimWraper" is no known optim_wrapper. Did you mean "OptimWrapper"?'),
    ('param_scheduler.0.type', 'LinearRL', '"LinearRL" is no known parameter scheduler. Did you mean "LinearLR"?'),
    ('default_hooks.timer.type', 'ItrTimerHook', '"ItrTimerHook" is no known hook. Did you mean "IterTimerHook"?'),
    ('val_evaluator.type', 'CocoMetrics', '"CocoMetrics" is no known metric. Did you mean "CocoMetric"?'),
    ('visualizer.vis_backends.0.type', 'LocalVisBackened',
     '"LocalVisBackened" is no known vis_backend. Did you mean "LocalVisBackend"?'),
    ('train_cfg.type', 'EpochBasedTrainLop',
     '"EpochBasedTrainLop" is no known loop. Did you mean "EpochBasedTrainLoop"?'),
    ('model.backbone.norm_cfg.type', 'SynchBN', '"SynchBN" is no known model. Did you mean "SyncBN"?'),
    ('model.backbone.init_cfg', dict(type='Pretraind', checkpoint='x'),
     '"Pretraind" is no known weight initializer. Did you mean "Pretrained"?'),
])
def test_unknown_type(cfg, path, value, expected):
    put(cfg, path, value)
    place = path if path.endswith('type') else f'{path}.type'
    assert f'{place}: {expected}' in config_problems(cfg)


def test_names_inside_albumentations(cfg):
    put(cfg, f'{TRAIN}.pipeline.3', dict(
        type='Albu', bbox_params=dict(type='BboxParams', format='pascal_voc', filter_lost_elements=True),
        transforms=[dict(type='OneOf', transforms=[dict(type='MedianBlurr'), dict(type='CLAHE', p=0.5)])]))
    assert config_problems(cfg) == [f'{TRAIN}.pipeline.3.transforms.0.transforms.0.type: "MedianBlurr" is no known '
                                    'albumentations. Did you mean "MedianBlur"?']


@pytest.mark.parametrize(('path', 'value', 'expected'), [
    ('model.roi_head.bbox_head.num_clases', 3,
     'Shared2FCBBoxHead takes no argument "num_clases". Did you mean "num_classes"?'),
    ('model.neck.num_out', 5, 'cxrdet.BiFPN takes no argument "num_out". Did you mean "num_outs"?'),
    ('model.backbone.norm_cfg.epps', 1e-3, 'BN takes no argument "epps". Did you mean "eps"?'),
    (f'{TRAIN}.data_rot', 'x', 'cxrdet.CellDataset takes no argument "data_rot". Did you mean "data_root"?'),
    (f'{TRAIN}.pipeline.2.scal', 3, 'Resize takes no argument "scal". Did you mean "scale"?'),
    ('optim_wrapper.optimizer.weight_deacy', 0, 'AdamW takes no argument "weight_deacy". Did you mean "weight_decay"?'),
    ('optim_wrapper.clip_gard', dict(max_norm=1),
     'OptimWrapper takes no argument "clip_gard". Did you mean "clip_grad"?'),
    ('train_cfg.max_epoch', 3, 'EpochBasedTrainLoop takes no argument "max_epoch". Did you mean "max_epochs"?'),
    ('default_hooks.logger.intervall', 3, 'LoggerHook takes no argument "intervall". Did you mean "interval"?'),
    ('param_scheduler.0.by_epochs', True, 'LinearLR takes no argument "by_epochs". Did you mean "by_epoch"?'),
])
def test_unknown_argument(cfg, path, value, expected):
    put(cfg, path, value)
    assert config_problems(cfg) == [f'{path}: {expected}']


@pytest.mark.parametrize(('path', 'value', 'expected'), [
    ('train_dataloader.batchsize', 4, 'unknown key. Did you mean "batch_size"?'),
    ('env_cfg.cudnn_benchmrk', True, 'unknown key. Did you mean "cudnn_benchmark"?'),
    ('randomness.sed', 1, 'unknown key. Did you mean "seed"?'),
])
def test_unknown_key_of_a_section(cfg, path, value, expected):
    put(cfg, path, value)
    assert config_problems(cfg) == [f'{path}: {expected}']


def test_missing_argument(cfg):
    del cfg.model.neck['in_channels']
    assert config_problems(cfg) == ['model.neck.in_channels: cxrdet.BiFPN needs this argument.']


def test_scope_of_a_subtree_and_a_class_as_type(cfg):
    cfg.model.backbone = dict(type='DenseNet', arch='121', out_indices=(0, 1, 2, 3), _scope_='mmpretrain')
    cfg.model.neck.type = nn.Identity
    assert config_problems(cfg) == []
    del cfg.model.backbone['_scope_']
    assert config_problems(cfg) == ['model.backbone.type: "DenseNet" is no known model. '
                                    'Did you mean "mmpretrain.DenseNet"?']


def test_all_problems_at_once(cfg):
    cfg.merge_from_dict({'modle': dict(a=1), 'model.neck.type': 'cxrdet.BiFNP', f'{VAL}.ann_file': 'none.json',
                         'model.roi_head.bbox_head.num_clases': 3, 'load_from': 'none.pth'})
    lines = message(cfg).splitlines()
    assert lines[0].endswith('5 problems')
    places = ['modle', 'model.neck.type', 'model.roi_head.bbox_head.num_clases', f'{VAL}.ann_file', 'load_from']
    assert [line.strip().split(': ')[0] for line in lines[1:]] == places


def test_config_without_a_model(cfg):
    cfg.pop('model')
    assert 'model: the config has no model = dict(type=...).' in message(cfg)


# --- files, classes and images


@pytest.mark.parametrize(('path', 'value', 'expected'), [
    (f'{TRAIN}.ann_file', 'annotations/trian.json', 'no such file: {root}/annotations/trian.json'),
    (f'{TRAIN}.data_prefix', dict(img='imgs/'), 'no such folder: {root}/imgs/'),
    (f'{VAL}.data_root', '/no/where', 'no such folder: /no/where. Give one with --data-root'),
    ('load_from', 'epoch_1.pth', 'no such checkpoint: epoch_1.pth'),
    ('model.backbone.init_cfg', dict(type='Pretrained', checkpoint='r18.pth'), 'no such checkpoint: r18.pth'),
])
def test_missing_file(cfg, cell_phantoms, path, value, expected):
    put(cfg, path, value)
    text = message(cfg)
    assert expected.format(root=cell_phantoms) in text
    assert path in text


@pytest.mark.parametrize('value', ['torchvision://resnet18', 'https://example.org/r18.pth'])
def test_remote_checkpoints_are_not_looked_for(cfg, value):
    put(cfg, 'model.backbone.init_cfg', dict(type='Pretrained', checkpoint=value))
    check_run(cfg, mode='train')


def test_only_the_data_of_the_mode_is_looked_at(cfg):
    cfg.merge_from_dict({f'{TRAIN}.ann_file': 'none.json'})
    check_run(cfg, mode='test')
    cfg.merge_from_dict({'test_dataloader.dataset.ann_file': 'none.json'})
    check_config(cfg)
    assert 'test_dataloader.dataset.ann_file' in message(cfg, 'test')
    assert TRAIN not in message(cfg, 'test')


def test_classes_that_the_file_lacks(cfg):
    cfg.merge_from_dict({f'{TRAIN}.metainfo': dict(classes=('RBC', 'Neutrophil'))})
    assert 'no class "Neutrophil", which metainfo["classes"] names.' in message(cfg)


def test_validation_set_is_held_to_the_classes_of_the_training_set(cfg, tmp_path, cell_phantoms):
    content = json.loads((cell_phantoms / 'annotations' / 'val.json').read_text())
    content['categories'][0]['name'] = 'renamed'
    (tmp_path / 'val.json').write_text(json.dumps(content))
    put(cfg, f'{VAL}.ann_file', str(tmp_path / 'val.json'))
    assert f'{VAL}: {tmp_path}/val.json: no class "' in message(cfg)
    for key in ('val_cfg', 'val_dataloader', 'val_evaluator'):  # without validation, the file is not looked at
        put(cfg, key, None)
    check_run(cfg, mode='train')


def stock(root: Path, names: list[str], **metainfo) -> Config:
    """A stock CocoDataset over a file with the categories ``names``, in this order."""
    (root / 'a.jpg').write_bytes(b'jpeg')
    content = dict(images=[dict(id=1, file_name='a.jpg', height=8, width=8)],
                   annotations=[dict(id=1, image_id=1, category_id=1, bbox=[1, 1, 5, 5])],
                   categories=[dict(id=i, name=name) for i, name in enumerate(names, 1)])
    (root / 'train.json').write_text(json.dumps(content))
    dataset = dict(type='CocoDataset', data_root=str(root), ann_file='train.json', metainfo=metainfo or None)
    head = dict(type='FCOSHead', num_classes=2, in_channels=8)
    return Config(dict(default_scope='mmdet', model=dict(type='FCOS', backbone=dict(type='ResNet', depth=18), neck=None,
                                                         bbox_head=head), train_dataloader=dict(
                           dataset=dataset, sampler=dict(type='DefaultSampler')),
                       train_cfg=dict(by_epoch=True, max_epochs=1),
                       optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1))))


@pytest.mark.parametrize(('names', 'classes', 'expected'), [
    (['b', 'a'], ('a', 'b'), "numbers classes in the order of the annotation file, ['b', 'a'], not of the config"),
    (['a', 'b'], ('a', 'c'), "has no class 'c'; it has 'a', 'b'"),
    (['a', 'b', 'c'], ('a', 'b', 'c'), 'model.bbox_head.num_classes: 2, but the training set names 3 classes'),
    (['a', 'b'], None, "has no class 'person', 'bicycle'"),
])
def test_stock_coco_dataset(tmp_path, names, classes, expected):
    assert expected in message(stock(tmp_path, names, **(dict(classes=classes) if classes else {})))


def test_stock_coco_dataset_that_fits(tmp_path):
    check_run(stock(tmp_path, ['a', 'other', 'b'], classes=('a', 'b')), mode='train')


@pytest.mark.parametrize(('changed', 'more', 'expected'), [
    (dict(bbox=[0.1, 0.1, 0.5, 0.5]), {}, '1 of 1 boxes are less than a pixel: they look normalised'),
    (dict(category_id=2), {}, '1 unknown_class'), (dict(iscrowd=1), {}, '1 iscrowd'),
    (dict(image_id=2), {}, '1 unknown_image'), (None, {}, 'the annotations hold no box'),
    (dict(bbox=[1, 1, 5]), dict(test_mode=True), 'to judge by: .*1 bad_box'),
    (dict(), dict(indices=0), 'none of the first 0 of 1 images'),
    (1, {}, r'ann_file: .*train.json: annotations\[0\]: must be an object, got 1')])
def test_stock_coco_dataset_without_a_box_to_use(tmp_path, changed, more, expected):
    config = stock(tmp_path, ['a', 'other', 'b'], classes=('a', 'b'))
    content = json.loads((tmp_path / 'train.json').read_text())
    content['annotations'] = [] if changed is None else [content['annotations'][0] | changed] if changed != 1 else [1]
    (tmp_path / 'train.json').write_text(json.dumps(content))
    config.train_dataloader.dataset.update(more)
    assert re.search(expected, message(config))


@pytest.mark.parametrize('split', ['train', 'val'])
def test_set_without_a_box_to_use(cfg, split, tmp_path, cell_phantoms):
    content = json.loads((cell_phantoms / 'annotations' / f'{split}.json').read_text())
    for entry in content['annotations']:
        entry['bbox'] = [value / 96 for value in entry['bbox']]
    (tmp_path / 'bad.json').write_text(json.dumps(content))
    place = f'{split}_dataloader.dataset'
    put(cfg, f'{place}.ann_file', str(tmp_path / 'bad.json'))
    number = len(content['annotations'])
    assert f'{place}: {tmp_path}/bad.json' in message(cfg)
    assert f'{number} of {number} boxes are less than a pixel: they look normalised; multiply' in message(cfg)
    put(cfg, f'{place}.allow_no_boxes', True)
    check_run(cfg, mode='train')


@pytest.mark.parametrize(('content', 'expected'), [
    ('', 'the annotation file is empty'), ('{"images": []}', 'expected a list "categories"')])
def test_stock_coco_dataset_with_a_broken_file(tmp_path, content, expected):
    config = stock(tmp_path, ['a', 'b'], classes=('a', 'b'))
    (tmp_path / 'train.json').write_text(content)
    assert re.search(f'train_dataloader.dataset.ann_file: .*train.json: {expected}', message(config))


def test_images(tmp_path):
    there, hollow = tmp_path / 'there.png', tmp_path / 'hollow.png'
    there.write_bytes(b'1')
    hollow.touch()
    lost = [tmp_path / f'{i}.png' for i in range(7)]
    first_five = ', '.join(str(file) for file in lost[:5])
    assert image_problems('x', [there, hollow, *lost]) == [
        f'x: 7 of 9 image files are not there: {first_five}, …', f'x: 1 of 9 image files are empty (0 bytes): {hollow}']
    assert image_problems('x', [there]) == []
    assert image_problems('x', [tmp_path]) == [f'x: 1 of 1 image files are not there: {tmp_path} (a folder)']
    assert image_problems('x', []) == []


# --- what a class takes


class Base(nn.Module):

    def __init__(self, width, depth=1):
        super().__init__()


class HandsOn(Base):

    def __init__(self, height, **kwargs):
        super().__init__(**kwargs)


class ReadsOneOnTheWay(Base):

    def __init__(self, **kwargs):
        self.tall = kwargs.pop('tall', False)
        super(ReadsOneOnTheWay, self).__init__(**kwargs)  # noqa: UP008


class SkipsItsParent(HandsOn):

    def __init__(self, **kwargs):
        super(HandsOn, self).__init__(**kwargs)


class UsesThemItself(Base):

    def __init__(self, **kwargs):
        super().__init__(1)
        self.inner = nn.Linear(**kwargs)


def function(a, *, b=2):
    return a, b


@pytest.mark.parametrize(('target', 'names', 'required', 'anything'), [
    (Base, {'width', 'depth'}, {'width'}, False),
    (HandsOn, {'height', 'width', 'depth'}, {'height', 'width'}, False),
    (ReadsOneOnTheWay, {'tall', 'width', 'depth'}, {'width'}, False),
    (SkipsItsParent, set(), set(), True),
    (UsesThemItself, set(), set(), True),
    (function, {'a', 'b'}, {'a'}, False),
    (int, set(), set(), True),
    (nn.BatchNorm2d, {'num_features', 'eps', 'momentum', 'affine', 'track_running_stats', 'device', 'dtype', 'bias'},
     {'num_features'}, False),
])
def test_takes(target, names, required, anything):
    known = takes(target)
    if target is nn.BatchNorm2d:  # newer releases of torch take more
        names = names & known.defaults.keys()
    assert set(known.defaults) == names
    assert {name for name, default in known.defaults.items() if default is inspect.Parameter.empty} == required
    assert known.anything is anything


# --- no false alarm on what the hosts ship

STOCK = [
    'mmdet/faster_rcnn/faster-rcnn_r50_fpn_1x_coco',
    'mmdet/cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco',
    'mmdet/mask2former/mask2former_r50_8xb2-lsj-50e_coco',
    'mmdet/detr/detr_r50_8xb2-150e_coco',
    'mmdet/deformable_detr/deformable-detr_r50_16xb2-50e_coco',
    'mmdet/dino/dino-4scale_r50_8xb2-12e_coco',
    'mmdet/rtmdet/rtmdet_tiny_8xb32-300e_coco',
    'mmdet/rtmdet/rtmdet-ins_s_8xb32-300e_coco',
    'mmdet/yolox/yolox_s_8xb8-300e_coco',
    'mmdet/pascal_voc/faster-rcnn_r50_fpn_1x_voc0712',
    'mmdet/solo/solo_r50_fpn_1x_coco',
    'mmdet/dcnv2/faster-rcnn_r50_fpn_mdpool_1x_coco',
    'mmdet/htc/htc_r50_fpn_1x_coco',
    'mmdet/vfnet/vfnet_r50_fpn_1x_coco',
    'mmdet/seesaw_loss/mask-rcnn_r50_fpn_seesaw-loss_random-ms-2x_lvis-v1',
    'mmdet/gcnet/mask-rcnn_r50-gcb-r4-c3-c5_fpn_1x_coco',
    'mmdet/soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco',
    'mmdet/openimages/retinanet_r50_fpn_32xb2-1x_openimages',
    'mmdet/timm_example/retinanet_timm-tv-resnet50_fpn_1x_coco',
    'mmdet/qdtrack/qdtrack_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval',
    'mmdet/glip/glip_atss_swin-t_a_fpn_dyhead_pretrain_obj365',
    'mmdet/fpg/faster-rcnn_r50_fpg_crop640-50e_coco',
    'mmpretrain/resnet/resnet50_8xb32_in1k',
    'mmpretrain/densenet/densenet121_4xb256_in1k',
    'mmpretrain/vision_transformer/vit-base-p16_64xb64_in1k',
    'mmpretrain/convnext/convnext-tiny_32xb128_in1k',
    'mmpretrain/csra/resnet101-csra_1xb16_voc07-448px',
    'mmpretrain/arcface/resnet50-arcface_8xb32_inshop',
    'mmpretrain/mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k',
    'mmpretrain/lenet/lenet5_mnist',
    'mmpretrain/resnest/resnest50_32xb64_in1k',
    'mmpretrain/simclr/simclr_resnet50_8xb32-coslr-200e_in1k',
    'mmpretrain/swin_transformer/swin-tiny_16xb64_in1k',
    'mmpretrain/hornet/hornet-tiny_8xb128_in1k',
]


@pytest.mark.parametrize('name', STOCK)
def test_stock_configs_raise_no_false_alarm(name):
    """``data = dict(…)`` of some mmpretrain configs is a leftover of an older framework: nothing reads it indeed."""
    package, _, path = name.partition('/')
    module = pytest.importorskip(package)
    config = Config.fromfile(Path(module.__file__).parent / '.mim' / 'configs' / f'{path}.py')
    leftover = ['data: nothing reads this top-level key.'] if 'hornet' in name else []
    assert config_problems(config) == leftover


def test_the_registry_is_not_changed_by_a_check(cfg):
    before = dict(MODELS.module_dict)
    config_problems(cfg)
    assert MODELS.module_dict == before


# --- once


@pytest.fixture
def reads():
    """Names of the files that are opened."""
    opened, on = [], [True]

    def note(event, args):
        if on and event == 'open' and isinstance(args[0], (str, bytes, Path)):
            opened.append(Path(str(args[0])).name)
    sys.addaudithook(note)
    yield opened
    on.clear()


@pytest.mark.parametrize('kind', ['cxrdet.CellDataset', 'CocoDataset'])
def test_one_walk_and_one_parse(cfg, kind, reads, monkeypatch):
    """From the check to the classes and the packing: the config is walked once, each annotation file is read once."""
    walks = []
    monkeypatch.setattr('cxrdet.preflight.check._part', lambda *args: walks.append(args[1]) or _part(*args))
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset.type = kind
        if kind == 'CocoDataset':
            put(cfg, f'{split}_dataloader.dataset.metainfo', dict(classes=tuple(coco_classes(cfg, split))))
    put(cfg, 'model.roi_head.bbox_head.num_classes', 3)
    reads.clear()
    found = check_run(cfg, mode='train')
    follow_classes(found)
    pack_for_metrics(found)
    assert len(walks) == len(set(walks)) > 50
    assert (reads.count('train.json'), reads.count('val.json')) == (1, 1)


def coco_classes(config, split):
    dataset = config[f'{split}_dataloader'].dataset
    return [entry['name'] for entry in json.loads(Path(dataset.data_root, dataset.ann_file).read_text())['categories']]


# --- Losses whose heads would give them something else than they expect.


FOCAL, SOFTMAX = dict(type='FocalLoss', use_sigmoid=True), dict(type='CrossEntropyLoss')


def loss_lines(config, head, loss, key='loss_cls', **options):
    cfg = Config.fromfile(find_config(config))
    node = cfg.model
    for name in head.split('.'):
        node = node[name]
    node[key] = dict(loss)
    node.update(options)
    return config_problems(cfg)


@pytest.mark.parametrize('inner', [FOCAL, dict(type='FocalLoss'), dict(type='CrossEntropyLoss', use_sigmoid=True)])
def test_a_sigmoid_that_the_head_is_not_told_of(inner):
    loss = dict(type='cxrdet.OHEMLoss', loss=inner)
    assert loss_lines('retinanet_bifpn_cell', 'bbox_head', loss) == [
        'model.bbox_head.loss_cls.use_sigmoid: RetinaHead reads it here and would predict a score for the background; '
        f'give use_sigmoid=True, as the {inner["type"]} inside has it']
    assert loss_lines('retinanet_bifpn_cell', 'bbox_head', dict(loss, use_sigmoid=True)) == []
    assert len(loss_lines('faster_rcnn_bifpn_cell', 'rpn_head', loss)) == 1


@pytest.mark.parametrize(('config', 'head', 'loss'), [
    ('retinanet_bifpn_cell', 'bbox_head', dict(type='cxrdet.OHEMLoss', loss=SOFTMAX)),
    ('retinanet_bifpn_cell', 'bbox_head', FOCAL),
    ('faster_rcnn_bifpn_cell', 'roi_head.bbox_head',
     dict(type='cxrdet.OHEMLoss', loss=dict(type='cxrdet.RoIFocalLoss')))])
def test_losses_that_fit(config, head, loss):
    assert loss_lines(config, head, loss) == []


@pytest.mark.parametrize(('loss', 'predictor', 'lines'), [
    ('RoIFocalLoss', {}, 1), ('RoIFocalLoss', dict(type='cxrdet.PriorLinear'), 0),
    ('RoIFocalLoss', dict(type='cxrdet.PriorLinear', prior=0.5), 0), ('OHEMLoss', {}, 1), ('plain', {}, 0)])
def test_focal_scores_that_start_at_a_half(loss, predictor, lines):
    cfg = Config.fromfile(find_config('faster_rcnn_bifpn_cell'))
    head, focal = cfg.model.roi_head.bbox_head, dict(type='cxrdet.RoIFocalLoss')
    if loss != 'plain':
        head.loss_cls = focal if loss == 'RoIFocalLoss' else dict(type='cxrdet.OHEMLoss', loss=focal)
    head.cls_predictor_cfg = predictor
    told = list(advice_before_training(examine(cfg)))
    assert [line.partition(':')[0] for line in told] == ['model.roi_head.bbox_head.cls_predictor_cfg'] * lines


IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
HALF = dict(mean=[127.5] * 3, std=[127.5] * 3)


def converted(source):
    return dict(type='cxrdet.ConvertedPretrained', checkpoint='w.pth', source=source)


@pytest.mark.parametrize(('init_cfg', 'pixels', 'told'), [
    (dict(type='Pretrained', checkpoint='torchvision://resnet50'), IMAGENET, ''),
    (dict(type='Pretrained', checkpoint='torchvision://resnet50'), HALF, r'of torchvision, .*123\.675'),
    (dict(type='Pretrained', checkpoint='torchvision://resnet50'), dict(mean=[0.] * 3, std=[255.] * 3), 'torchvision'),
    (dict(type='Pretrained', checkpoint='own.pth'), HALF, ''),
    (converted('torchvision'), HALF, 'of torchvision'), (converted('chexnet'), HALF, 'of chexnet'),
    (converted('timm'), HALF, ''), (converted('timm'), IMAGENET, ''), (converted('cxrdet'), HALF, ''),
    (converted('torchxrayvision'), HALF, r'std=\[0\.1245'), (converted('radimagenet'), HALF, ''),
    (converted('torchxrayvision'), dict(mean=[127.5] * 3, std=[0.1245] * 3, bgr_to_rgb=False), ''),
    (converted('efficientnet_lite'), dict(mean=[127.] * 3, std=[128.] * 3), ''),
    (converted('efficientnet_lite'), HALF, ''),  # nearly the same
    (converted('efficientnet_lite'), IMAGENET, r'of efficientnet_lite, .*mean=\[127\.0, 127\.0, 127\.0\], std=\[128'),
    (converted('efficientnet_lite'), dict(mean=[127.] * 3, std=[128.] * 3, bgr_to_rgb=False), 'red first'),
    (converted('efficientnet_lite'), dict(mean=0.5), ''), (converted('timm'), dict(mean=['a', 'b', 'c']), ''),
    (converted('efficientnet_lite'), dict(mean=None, std=None), r'here they have mean=\[0\.0\], std=\[1\.0\]')])
def test_pixels_that_do_not_fit_pretrained_weights(init_cfg, pixels, told):
    cfg = Config.fromfile(find_config('faster_rcnn_bifpn_cell'))
    cfg.model.backbone.init_cfg = init_cfg
    cfg.model.data_preprocessor.update(pixels)
    lines = list(advice_before_training(examine(cfg)))
    assert len(lines) == bool(told)
    for line in lines:
        assert line.startswith('model.data_preprocessor: model.backbone.init_cfg loads')
        assert re.search(told, line)


def test_pixels_of_a_classifier_and_of_a_student():
    cfg = Config.fromfile(find_config('densenet121_nih'))
    cfg.data_preprocessor.mean = [0.5, 0.5, 0.5]
    line, = advice_before_training(examine(cfg))
    assert line.startswith('data_preprocessor: model.init_cfg loads weights of torchvision')
    cfg = Config.fromfile(find_config('faster_rcnn_r50_distilled_cell'))
    cfg.model.student.data_preprocessor.std = [1., 1., 1.]
    line, = advice_before_training(examine(cfg))
    assert line.startswith('model.student.data_preprocessor: model.student.backbone.init_cfg loads')


@pytest.mark.parametrize(('paramwise', 'schedule', 'lost'), [
    (dict(custom_keys=dict(a=dict(lr_mult=0.1))), dict(type='OneCycleLR', eta_max=1e-3, total_steps=9), True),
    (dict(layer_decay_rate=0.7), dict(type='OneCycleLR', eta_max=1e-3, total_steps=9), True),
    (dict(custom_keys=dict(a=dict(decay_mult=0.))), dict(type='OneCycleLR', eta_max=1e-3, total_steps=9), False),
    (dict(custom_keys=dict(a=dict(lr_mult=1.))), dict(type='OneCycleLR', eta_max=1e-3, total_steps=9), False),
    (dict(custom_keys=dict(a=dict(lr_mult=0.1))), dict(type='OneCycleLR', eta_max=[1e-4, 1e-3], total_steps=9), False),
    (dict(custom_keys=dict(a=dict(lr_mult=0.1))), dict(type='CosineAnnealingLR', T_max=9), False)])
def test_multiplied_rates_that_one_cycle_makes_equal(paramwise, schedule, lost):
    cfg = Config(dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.), paramwise_cfg=paramwise),
                      param_scheduler=[schedule]))
    told = list(advice_before_training(examine(cfg)))
    begin = 'param_scheduler.0: OneCycleLR gives all parameters the rate eta_max'
    assert [line.startswith(begin) for line in told] == [True] * lost


@pytest.mark.parametrize(('constructor', 'paramwise', 'lost'), [
    ('mmpretrain.LearningRateDecayOptimWrapperConstructor', dict(custom_keys=dict(a=dict(lr_mult=10))), True),
    ('LearningRateDecayOptimWrapperConstructor', dict(custom_keys=dict(a=dict(decay_mult=0.))), False),
    (None, dict(custom_keys=dict(a=dict(lr_mult=10))), False)])
def test_multiplied_rates_beside_rates_by_layer(constructor, paramwise, lost):
    cfg = Config(dict(default_scope='mmpretrain', optim_wrapper=dict(
        optimizer=dict(type='SGD', lr=1.), constructor=constructor, paramwise_cfg=dict(paramwise))))
    told = list(advice_before_training(examine(cfg)))
    assert ['does not read lr_mult' in line for line in told] == [True] * lost


@pytest.mark.parametrize(('stages', 'loop', 'wrong'), [
    (None, dict(type='IterBasedTrainLoop', max_iters=9), True), (None, dict(by_epoch=True, max_epochs=9), False),
    ([dict(begin=1, parts=['head'])], dict(type='IterBasedTrainLoop', max_iters=9), False)])
def test_unfreezing_by_epochs_in_a_training_by_iterations(stages, loop, wrong):
    hook = dict(type='cxrdet.GradualUnfreezeHook', **dict(stages=stages) if stages else {})
    cfg = Config(dict(train_cfg=loop, default_hooks=dict(unfreeze=hook)))
    told = [line for line in _unfreezing_by_epochs(examine(cfg)) if 'its stages begin at epochs' in line]
    assert [line.partition(':')[0] for line in told] == ['default_hooks.unfreeze'] * wrong


def test_one_cycle_does_make_rates_equal():
    """MMEngine itself, of which the advice speaks."""
    groups = [dict(params=[torch.nn.Parameter(torch.zeros(1))], lr=rate) for rate in (0.1, 1.)]
    rates = {}
    for name, schedule in (('one', dict(type='OneCycleLR', eta_max=1., total_steps=9)),
                           ('cosine', dict(type='CosineAnnealingLR', T_max=9))):
        optimizer = torch.optim.SGD([dict(group) for group in groups])
        PARAM_SCHEDULERS.build(dict(schedule, optimizer=optimizer))
        rates[name] = [group['lr'] for group in optimizer.param_groups]
    assert rates['one'][0] == rates['one'][1] and rates['cosine'] == [0.1, 1.]


@pytest.mark.long
@pytest.mark.parametrize('name', sorted(recipes()))
def test_recipes_give_pretrained_weights_their_pixels(name):
    cfg = Config.fromfile(find_config(name))
    assert not [line for line in advice_before_training(examine(cfg)) if 'loads weights of' in line]


@pytest.mark.parametrize(('config', 'head'), [
    ('faster_rcnn_bifpn_cell', 'roi_head.bbox_head'), ('faster_rcnn_bifpn_cell', 'rpn_head'),
    ('retinanet_bifpn_cell', 'bbox_head')])
@pytest.mark.parametrize('loss', ['GIoULoss', 'mmdet.CIoULoss'])
def test_a_loss_of_boxes_that_would_see_deltas(config, head, loss):
    line, = loss_lines(config, head, dict(type=loss), 'loss_bbox')
    assert line.startswith(f'model.{head}.reg_decoded_bbox: {loss} compares boxes')
    assert loss_lines(config, head, dict(type=loss), 'loss_bbox', reg_decoded_bbox=True) == []


def test_heads_that_decode_by_themselves_take_losses_of_boxes():
    from mmengine.hub import get_config
    for name in ('atss/atss_r50_fpn_1x_coco.py', 'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
                 'ddod/ddod_r50_fpn_1x_coco.py'):
        assert config_problems(get_config(f'mmdet::{name}')) == []


# --- Metrics of one evaluation that give a value of the same name.


@pytest.mark.parametrize(('prefix', 'lines'), [
    (None, ['val_evaluator.1: cxrdet.ConfusionMatrixMetric and Accuracy (val_evaluator.0) both give accuracy/top1; '
            'leave one out, or give this one a name of its own: val_evaluator.1.prefix=confusion']),
    ('confusion', [])])
def test_metrics_of_one_name(prefix, lines):
    cfg = Config.fromfile(find_config('resnet18_csv'))
    cfg.val_evaluator = [dict(type='Accuracy', topk=(1, )), dict(type='cxrdet.ConfusionMatrixMetric', prefix=prefix)]
    assert config_problems(cfg) == lines


# --- Rates that stand where MMEngine does not look for them.


def rate_lines(**wrapper):
    return list(_multiplied_rates(examine(Config(dict(optim_wrapper=wrapper)))))


def test_a_rate_inside_that_paramwise_cfg_needs_outside():
    lookahead = dict(type='cxrdet.Lookahead', inner=dict(type='AdamW', lr=1e-4, weight_decay=0.05))
    assert rate_lines(optimizer=lookahead, paramwise_cfg=dict(norm_decay_mult=0.0)) == [
        'optim_wrapper.optimizer.inner.lr: with paramwise_cfg it stands one level up, beside inner: '
        'optim_wrapper.optimizer.lr = 0.0001.',
        'optim_wrapper.optimizer.inner.weight_decay: with paramwise_cfg it stands one level up, beside inner: '
        'optim_wrapper.optimizer.weight_decay = 0.05.']


@pytest.mark.parametrize('paramwise', [dict(norm_decay_mult=0.0), dict(custom_keys={'.bias': dict(decay_mult=0.0)})])
def test_a_decay_that_is_not_given(paramwise):
    optimizer = dict(type='cxrdet.Lookahead', inner=dict(type='AdamW'), lr=1e-4)
    line, = rate_lines(optimizer=optimizer, paramwise_cfg=paramwise)
    assert line.startswith('optim_wrapper.optimizer.weight_decay: missing, and paramwise_cfg has ')


@pytest.mark.parametrize('wrapper', [
    dict(optimizer=dict(type='SGD', lr=1e-2), paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)})),
    dict(optimizer=dict(type='cxrdet.Lookahead', inner=dict(type='AdamW', lr=1e-4))),
    dict(optimizer=dict(type='cxrdet.Lookahead', inner=dict(type='AdamW'), lr=1e-4), paramwise_cfg=dict(a=1)),
    dict(optimizer=dict(type='AdamW', lr=1e-4), paramwise_cfg=dict(a=1)), {}])
def test_rates_that_are_found(wrapper):
    assert rate_lines(**wrapper) == []
