"""Broken configs, each through ``tools/train.py``: one message that names the key, what was expected and what came."""
import copy
import re
from pathlib import Path

import pytest
from mmengine.config import Config

from cxrdet.core.errors import ConfigError
from cxrdet.preflight.check import config_problems, examine, told_by_place
from cxrdet.preflight.config import load_config

CONFIG = Path(__file__).parents[2] / 'configs' / 'faster_rcnn_bifpn_cell_tiny.py'


@pytest.fixture(scope='module')
def whole(tmp_path_factory, cell_phantoms):
    """The text of the tiny config, without bases, on phantoms."""
    cfg = load_config(CONFIG, data_root=cell_phantoms, cfg_options=['model.backbone.init_cfg=None'])
    cfg.dump(tmp_path_factory.mktemp('config') / 'whole.py')
    return (tmp_path_factory.getbasetemp() / 'config0' / 'whole.py').read_text()


@pytest.fixture
def said(tool, tmp_path, capfd):
    """Train with a config of this text, which must be refused; what is said of it."""
    def start(text, name='broken.py', options=()):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        assert tool('train').main([str(path), '--work-dir', str(tmp_path / 'run'), *options]) == 2
        assert not (tmp_path / 'run').exists()
        words = capfd.readouterr().err
        assert 'Traceback' not in words
        return words
    return start


@pytest.mark.parametrize(('name', 'text', 'expected'), [
    ('a.json', '{"a": ', 'expected a JSON file of names and values.*line 1 column 7'),
    ('a.json', '', 'expected a JSON file'), ('a.json', '[1]', 'expected a JSON file of names and values'),
    ('a.yaml', 'a: [1, {', 'expected a YAML file of names and values'),
    ('a.py', b"a = '\xff\xfe'\n", 'expected text in UTF-8, found the byte 0xff at 5'),
    ('a.py', b'\xef\xbb\xbfx = 1 / 0\n', 'division by zero'),
    ('a.py', b'a = 1\0\n', 'null bytes'), ('a.py', 'x = 1\ny = 1 / 0\n', r'division by zero \(.*a\.py, line 2\)'),
    ('a.py', "x = 'a'.foo\n", "'str' object has no attribute 'foo'"), ('a.py', 'x = [][0]\n', 'IndexError'),
    ('a.py', "x = int('a')\n", 'invalid literal for int'), ('a.py', 'assert False\n', 'AssertionError'),
    ('a.py', 'raise SystemExit(0)\n', 'SystemExit'), ('a.py', 'x = (\n', 'never closed'),
    ('a.py', f'x = {"(" * 500}{")" * 500}\n', 'too many nested parentheses'),
    ('a.py', "_base_ = './a.py'\n", r'_base_ .* go round in a circle: .*a\.py -> .*a\.py'),
    ('a.py', "_base_ = './nothere.py'\n", r'nothere\.py.*expected _base_ to be the path of a'),
    ('a.py', '_base_ = 5\n', 'expected _base_ to be the path of a config, or a list of them'),
    ('a.py', "_base_ = 'mmdet::no/such.py'\n", 'expected _base_ to be the path of a config'),
    ('a.py', f"_base_ = '{CONFIG}'\nx = {{{{_base_.nothere}}}}\n", "KeyError: 'nothere'"),
    ('a.py', 'import nothere_xyz\n', 'nothere_xyz'),
    ('a.py', "custom_imports = dict(imports=['nothere_xyz'])\n", "ImportError: .*No module named 'nothere_xyz' "),
    ('a.txt', 'x = 1', 'Only py/yml/yaml/json type')])
def test_unreadable(said, name, text, expected):
    words = said(text, name)
    assert re.search(f'{name}: the config cannot be read: .*{expected}', words)
    assert words.count('\n') == 1


@pytest.mark.parametrize('lines', [
    "_base_ = ['./b.py']\n", 'from mmengine.config import read_base\nwith read_base():\n    from .b import *\n'])
def test_a_mark_of_the_order_of_bytes(tmp_path, lines):
    """Python reads a file with one; bases may have one as well."""
    mark = '\ufeff'
    (tmp_path / 'b.py').write_text(f'{mark}b = 2\n')
    (tmp_path / 'a.py').write_text(f'{mark}{lines}x = 1\n')
    exec(compile((tmp_path / 'b.py').read_bytes(), 'b.py', 'exec'), space := {})
    cfg = load_config(tmp_path / 'a.py')
    assert (cfg.x, cfg.b) == (1, space['b'])


D, H = 'train_dataloader', 'default_hooks'


@pytest.mark.parametrize(('lines', 'place', 'expected'), [
    # sections of another kind
    ('model = None', 'model', 'a dict, got None'), ('model = []', 'model', r'a dict, got \[\]'),
    (f'{H} = 5', H, 'a dict or None, got 5'), (f'{D} = 3', D, 'a dict or None, got 3'),
    ("param_scheduler = 'x'", 'param_scheduler', "a dict or list or None, got 'x'"),
    ('env_cfg = []', 'env_cfg', 'a dict'),
    ('custom_hooks = dict()', 'custom_hooks', 'a list'), ('train_cfg = [1]', 'train_cfg', 'a dict'),
    ('optim_wrapper = 1', 'optim_wrapper', 'a dict'), ("val_evaluator = 'x'", 'val_evaluator', 'a dict or list'),
    ('randomness = 3', 'randomness', 'a dict'), ("visualizer = 'x'", 'visualizer', 'a dict'),
    ('log_processor = 1', 'log_processor', 'a dict'), ('custom_imports = 3', None, 'cannot be read'),
    (f"{D}['dataset'] = None", f'{D}.dataset', 'a dict, got None'),
    ('load_from = 5', 'load_from', 'text or None, got 5'),
    ('work_dir = 5', 'work_dir', 'text or None, got 5'), ("log_level = 'LOUD'", 'log_level', "DEBUG or .* got 'LOUD'"),
    ("custom_hooks = [dict(typ='EMAHook')]", 'custom_hooks.0', 'a dict with "type", got the keys typ.*mean "typ"'),
    (f"{D}['dataset']['pipeline'].insert(0, dict(keep_ratio=True))", f'{D}.dataset.pipeline.0', 'a dict with "type"'),
    ('param_scheduler = [{}]', 'param_scheduler.0', 'a dict with "type", got the keys none'),
    # values out of range
    (f"{D}['batch_size'] = 0", f'{D}.batch_size', 'an integer of at least 1, got 0'),
    (f"{D}['batch_size'] = 2.5", f'{D}.batch_size', 'an integer of at least 1, got 2.5'),
    (f"{D}['num_workers'] = -1", f'{D}.num_workers', 'an integer of at least 0 .*got -1'),
    ("val_dataloader['num_workers'] = 'x'", 'val_dataloader.num_workers', "an integer of at least 0 .*got 'x'"),
    (f"{D}.pop('num_workers')\n{D}['persistent_workers'] = True", f'{D}.persistent_workers',
     'num_workers of at least 1'),
    (f"{D}.update(num_workers=0, prefetch_factor=2)", f'{D}.prefetch_factor', 'num_workers of at least 1, got 0'),
    (f"{D}['timeout'] = -1", f'{D}.timeout', 'a number of at least 0'),
    (f"{D}.pop('sampler')", f'{D}.sampler', 'missing'), (f"{D}.pop('dataset')", f'{D}.dataset', 'missing'),
    ("randomness = dict(seed=-1)", 'randomness.seed', 'at least 0 and at most 4294967295 or None, got -1'),
    ("randomness = dict(seed='x')", 'randomness.seed', "an integer .* got 'x'"),
    ("train_cfg['max_epochs'] = 0", 'train_cfg.max_epochs', 'a whole number of at least 1, got 0'),
    ("train_cfg['max_epochs'] = 'ten'", 'train_cfg.max_epochs', "got 'ten'"),
    ("train_cfg['max_epochs'] = 1.5", 'train_cfg.max_epochs', 'got 1.5'),
    ("train_cfg.pop('max_epochs')", 'train_cfg.max_epochs', 'needs this argument'),
    ("train_cfg['val_interval'] = 0", 'train_cfg.val_interval', 'a whole number of at least 1, got 0'),
    (f"{H}['checkpoint']['interval'] = 0", f'{H}.checkpoint.interval', 'at least 1 or -1, got 0. -1 saves none'),
    (f"{H}['checkpoint']['max_keep_ckpts'] = 'x'", f'{H}.checkpoint.max_keep_ckpts', "got 'x'"),
    (f"{H}['logger']['interval'] = 0", f'{H}.logger.interval', 'at least 1, got 0'),
    ("optim_wrapper['optimizer']['lr'] = -1.0", 'optim_wrapper.optimizer.lr', 'a number of at least 0 .*got -1.0'),
    ("optim_wrapper['optimizer']['lr'] = 'x'", 'optim_wrapper.optimizer.lr', "got 'x'"),
    ("optim_wrapper['optimizer']['lr'] = float('nan')", 'optim_wrapper.optimizer.lr', 'got nan'),
    ("optim_wrapper['optimizer']['weight_decay'] = -1", 'optim_wrapper.optimizer.weight_decay', 'at least 0 .*got -1'),
    ("optim_wrapper['optimizer'] = dict(type='SGD', lr=0.1, weight_decay=0, momentum=1.5)",
     'optim_wrapper.optimizer.momentum', 'at least 0 and below 1, got 1.5'),
    ("optim_wrapper['optimizer']['betas'] = (0.9, 2)", 'optim_wrapper.optimizer.betas', 'a list of numbers'),
    ("optim_wrapper['optimizer']['betas'] = 0.9", 'optim_wrapper.optimizer.betas', 'a list of numbers'),
    ("optim_wrapper['optimizer']['eps'] = -1.0", 'optim_wrapper.optimizer', 'cannot be built .*Invalid epsilon'),
    ("optim_wrapper['optimizer'] = dict(type='SGD', lr=0.1, weight_decay=0, nesterov=True)", 'optim_wrapper.optimizer',
     'Nesterov'),
    ("optim_wrapper['accumulative_counts'] = 0", 'optim_wrapper.accumulative_counts', 'at least 1, got 0'),
    ("param_scheduler = [dict(type='MultiStepLR', milestones=8)]", 'param_scheduler.0.milestones',
     'a list of integers of at least 0, got 8'),
    ("param_scheduler = dict(type='StepLR', step_size=0)", 'param_scheduler.step_size', 'at least 1'),
    ("param_scheduler = [dict(type='CosineAnnealingLR', T_max=3, begin=5, end=5)]", 'param_scheduler.0',
     'begins at 5, but its end is 5'),
    ('val_cfg = None', 'val_cfg', 'missing, and needed with'), (f'{D} = None', D, 'missing, and needed with'),
    ("optim_wrapper['optimizer']['lr'] = float('inf')", 'optim_wrapper.optimizer.lr', 'below inf .*got inf'),
    ("optim_wrapper['clip_grad'] = dict(max_norm=-1)", 'optim_wrapper.clip_grad.max_norm', 'more than 0, got -1'),
    ("param_scheduler = [dict(type='LinearLR', start_factor=0, end=5)]", 'param_scheduler.0.start_factor', 'than 0'),
    ("custom_hooks = ['cxrdet.HistoryHook']", 'custom_hooks', 'a list of dicts or None'),
    ("env_cfg = dict(mp_cfg=dict(mp_start_method='threads'))", 'env_cfg.mp_cfg.mp_start_method', 'fork or spawn'),
    ("custom_hooks = [dict(type='cxrdet.HistoryHook', plot_every='x')]", 'custom_hooks.0.plot_every', "0, got 'x'"),
    ("resume = 'yes'", 'resume', "expected True or False or None, got 'yes'"),
    ("launcher = 'ponies'", 'launcher', "expected none or pytorch or slurm or mpi, got 'ponies'"),
    (f"{D}['num_workers'] = 10**6", f'{D}.num_workers', 'at most .*got 1000000'),
    (f"{D}['dataset']['ann_file'] = ['a.json']", f'{D}.dataset.ann_file', 'the path of one file'),
    (f"{D}['dataset']['data_prefix'] = 'images'", f'{D}.dataset.data_prefix', 'a dict of folders'),
    ("model['data_preprocessor']['pad_size_divisor'] = 0", 'model.data_preprocessor.pad_size_divisor', 'at least 1'),
    ("model['roi_head']['bbox_head']['fc_out_channels'] = 0", 'model.roi_head.bbox_head.fc_out_channels', 'at least 1'),
    ("model['rpn_head']['anchor_generator']['scales'] = [-8]", 'model.rpn_head.anchor_generator.scales', 'than 0'),
    ("model['test_cfg']['rcnn']['max_per_img'] = -5", 'model.test_cfg.rcnn.max_per_img', 'got -5'),
    (f"{D}['dataset']['pipeline'].insert(0, {D}['dataset']['pipeline'].pop())", f'{D}.dataset.pipeline.0',
     'packs what the transforms before it give'),
    # parts
    (f"{D}['dataset']['pipeline'][2] = dict(type='RandomFlip', prob=1.5)", f'{D}.dataset.pipeline.2',
     'RandomFlip .*AssertionError: assert .*prob=1.5'),
    ("model['backbone'] = dict(type=3)", 'model.backbone.type', 'the name of a class, got 3'),
    ("model['type'] = ''", 'model.type', '"" is no known model'), ("model.pop('type')", 'model.type', 'missing'),
    (f"{D}['dataset']['pipeline'] = []", f'{D}.dataset.pipeline', 'transforms that load and pack'),
    (f"{D}['dataset']['pipeline'][2]['scale'] = (0, 0)", f'{D}.dataset.pipeline.2.scale',
     r'sizes above 0, got \(0, 0\)'),
    (f"{D}['dataset']['pipeline'][2]['scale'] = 'abc'", f'{D}.dataset.pipeline.2.scale', "sizes above 0, got 'abc'"),
    (f"{D}['dataset']['pipeline'][2] = dict(type='cxrdet.ChestAugment', shear='x')", f'{D}.dataset.pipeline.2',
     'cxrdet.ChestAugment cannot be built from its arguments'),
    (f"{D}['dataset']['pipeline'][2] = dict(type='RandomChoice', transforms=[[dict(type='RandomFlip', prob='x')]])",
     f'{D}.dataset.pipeline.2.transforms.0.0', 'RandomFlip cannot be built'),
    ("model['backbone'] = dict(type='cxrdet.with_attention', backbone=dict(type='ResNet', depth=18), attention=[None, "
     "None, None, dict(type='cxrdet.CBAM', init_scale=1.)])", 'model.backbone.attention.3.init_scale',
     'takes no argument'),
])
def test_value(said, whole, lines, place, expected):
    words = said(f'{whole}\n{lines}\n')
    if place is None:
        assert re.search(expected, words)
        return
    assert re.search(f'^  {re.escape(place)}: .*{expected}', words, re.M)
    places = re.findall(r'^  ([\w.]+): ', words, re.M)
    assert all(other.startswith(place) or place.startswith(other) for other in places), places


@pytest.mark.parametrize(('lines', 'place', 'expected'), [
    ("model['neck']['in_channels'] = [64, 128, 256, 99]", 'model.neck', 'channels'),
    ("model['rpn_head']['anchor_generator']['strides'] = [4, 8, 16]", 'model.rpn_head',
     'AssertionError: assert .*num_levels'),
    ("custom_hooks = [dict(type='EMAHook', momentum=5)]", 'custom_hooks.0', 'momentum must be in range'),
    (f"{D}['dataset']['pipeline'].insert(0, dict(type='RandomFlip', prob=0.5))", f'{D}.dataset.pipeline.0',
     "RandomFlip .*KeyError: 'img'"),
])
def test_what_only_a_run_finds(tool, whole, tmp_path, capfd, lines, place, expected):
    """What fails as the Runner is built, or in the first step."""
    (tmp_path / 'a.py').write_text(f"{whole}\n{lines}\n{D}.update(num_workers=0, persistent_workers=False)\n")
    assert tool('train').main([str(tmp_path / 'a.py'), '--work-dir', str(tmp_path / 'run')]) == 2
    assert re.search(f'^error: {re.escape(place)}: .*{expected}', capfd.readouterr().err, re.M)


def test_a_transform_that_fails_in_another_process(tool, whole, tmp_path, capfd):
    (tmp_path / 'a.py').write_text(f"{whole}\n{D}['dataset']['pipeline'].insert(0, dict(type='RandomFlip', prob=.5))\n"
                                   f"{D}.update(num_workers=1)\n")
    assert tool('train').main([str(tmp_path / 'a.py'), '--work-dir', str(tmp_path / 'run')]) == 2
    assert re.search(r"^error: train_dataloader\.dataset: KeyError: 'img' \(", capfd.readouterr().err, re.M)


def _faulty_check():
    """A method as if it stood in a file of ours that is no part."""
    space = {}
    exec(compile('def check(self):\n    return 1 / 0\n', '/x/cxrdet/engine/lock.py', 'exec'), space)
    return space['check']


def test_a_fault_of_ours_keeps_its_traceback(tool, whole, tmp_path, monkeypatch, capfd):
    from cxrdet.engine import runner
    (tmp_path / 'a.py').write_text(whole)
    monkeypatch.setattr(runner.RunLock, 'check', _faulty_check())
    assert tool('train').main([str(tmp_path / 'a.py'), '--work-dir', str(tmp_path / 'run')]) == 1
    said = capfd.readouterr().err
    assert 'Traceback' in said and 'ZeroDivisionError' in said
    assert 'Please report it' in said and 'operators' in said


@pytest.mark.parametrize(('options', 'expected'), [
    (['--seed', '-1'], '--seed: expected a whole number'), (['--train-limit', '0'], "from 1 on, got '0'"),
    (['--cfg-options', 'randomness.seed=-1'], 'randomness.seed: expected an integer'),
    (['--cfg-options', 'device=gpu'], 'device=gpu: '), (['--cfg-options', 'device=5'], 'device=5: '),
    (['--cfg-options', 'train_dataloader=3'], 'train_dataloader: expected a dict'),
    (['--cfg-options', 'model=None', 'data_root=x'], 'model: expected a dict'),
    (['--launcher', 'pytorch'], '--launcher pytorch: .*RANK')])
def test_options(said, whole, options, expected):
    assert re.search(expected, said(whole, options=options))


def test_a_work_folder_that_is_a_file(tool, whole, tmp_path, capfd):
    (tmp_path / 'a.py').write_text(whole)
    (tmp_path / 'run').write_text('mine')
    for folder in ('run', 'run/below'):
        assert tool('train').main([str(tmp_path / 'a.py'), '--work-dir', str(tmp_path / folder)]) == 2
        assert re.match('error: argument --work-dir: expected a folder .*run is a file', capfd.readouterr().err)
    assert (tmp_path / 'run').read_text() == 'mine'


def test_a_launcher_of_no_name(whole, tmp_path):
    from cxrdet.apis import train
    (tmp_path / 'a.py').write_text(whole)
    with pytest.raises(ConfigError, match='launcher: expected none or pytorch.*foo'):
        train(load_config(tmp_path / 'a.py', work_dir=tmp_path / 'run'), launcher='foo', from_scratch=True)


def test_a_stock_schedule_that_begins_after_the_last_epoch():
    from mmengine.hub import get_config
    cfg = get_config('mmpretrain::deit/deit-tiny_4xb256_in1k.py')
    assert config_problems(cfg) == []
    cfg.train_cfg.max_epochs = 1
    line, = config_problems(cfg)
    assert line.startswith('param_scheduler.1: CosineAnnealingLR begins at 20, but the training ends at 1 (train_cfg.')


@pytest.mark.parametrize(('change', 'place', 'expected'), [
    (dict(neck=dict(type='cxrdet.BiFPN', in_channels=[64], out_channels='x', num_outs=5)), 'model.neck',
     'cxrdet.BiFPN'),
    (dict(backbone=dict(type='ResNet', depth=19)), 'model.backbone', r'KeyError: .*\(resnet\.py, line \d+\)'),
    (dict(backbone=dict(type='mmpretrain.ResNet', depth=18, frozen_stages=9)), 'model.backbone', 'mmpretrain.ResNet'),
    (dict(rpn_head=None), None, None), (dict(backbone=None), 'model', 'FasterRCNN cannot be built')])
def test_parts_that_are_built_later(whole, tmp_path, change, place, expected):
    """An error in building a part names its place; the innermost part, however the host has changed its config."""
    from mmengine.registry import MODELS, DefaultScope
    (tmp_path / 'a.py').write_text(whole)
    cfg = Config.fromfile(tmp_path / 'a.py')
    cfg.model.update(change)
    found = examine(cfg)
    with DefaultScope.overwrite_default_scope('mmdet'):
        if place is None:
            with told_by_place(found.parts):
                MODELS.build(copy.deepcopy(cfg.model))
            return
        with pytest.raises(ConfigError, match=f'^{place}: .*{expected}'), told_by_place(found.parts):
            MODELS.build(copy.deepcopy(cfg.model))


def test_errors_of_no_part_stay_what_they_are():
    with pytest.raises(ZeroDivisionError), told_by_place([]):
        raise ZeroDivisionError
