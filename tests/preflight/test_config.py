"""From a config file and a command line to a config."""
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from cxrdet.core.config_tree import datasets_of
from cxrdet.core.errors import ConfigError
from cxrdet.preflight.config import key_problems, load_config, parse_cfg_options, set_data_root

LISTED = 'configs/ablations/crops/resnet18_hybrid_crops_64.py'

STOCK = dict(
    data_root='data/coco/',
    train_dataloader=dict(dataset=dict(type='RepeatDataset', times=2, dataset=dict(
        type='CocoDataset', data_root='data/coco/', ann_file='annotations/train.json',
        data_prefix=dict(img='train/')))),
    val_dataloader=dict(dataset=dict(type='CocoDataset', data_root='data/coco/', ann_file='annotations/val.json')),
    val_evaluator=[dict(type='CocoMetric', ann_file='data/coco/annotations/val.json')])


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / 'small.py'
    path.write_text('model = dict(a=1, b=dict(c=[1, 2]))\n' + '\n'.join(f'{k} = {v!r}' for k, v in STOCK.items()))
    return path


def test_data_root_reaches_every_set_and_evaluator(config_file):
    cfg = load_config(config_file, data_root='/elsewhere/set')
    assert cfg.data_root == '/elsewhere/set'
    assert cfg.train_dataloader.dataset.dataset.data_root == '/elsewhere/set'
    assert cfg.val_dataloader.dataset.data_root == '/elsewhere/set'
    assert cfg.val_evaluator[0].ann_file == '/elsewhere/set/annotations/val.json'


def test_limits_go_to_the_innermost_set(config_file):
    cfg = load_config(config_file, train_limit=5, valid_limit=2)
    assert cfg.train_dataloader.dataset.dataset.indices == 5
    assert 'indices' not in cfg.train_dataloader.dataset
    assert cfg.val_dataloader.dataset.indices == 2


@pytest.mark.parametrize('limit', [0, -3])
def test_limit_must_be_positive(config_file, limit):
    with pytest.raises(ConfigError, match=f'at least 1, got {limit}'):
        load_config(config_file, train_limit=limit)


def test_work_dir_follows_the_config(config_file):
    assert load_config(config_file).work_dir == 'work_dirs/small'
    assert load_config(config_file, work_dir='there').work_dir == 'there'


@pytest.mark.parametrize(('options', 'expected'), [
    (['a=1'], {'a': 1}), (['a.b=0.5', 'c=x'], {'a.b': 0.5, 'c': 'x'}), (['a=[1,2]'], {'a': [1, 2]}),
    (['a=None', 'b=True'], {'a': None, 'b': True})])
def test_cfg_options(options, expected):
    assert parse_cfg_options(options) == expected


@pytest.mark.parametrize('option', ["a=[dict(type='CutMix',alpha=1.0)]", 'a=[1,(2,3]', 'a=f(1,2)x,3', 'a=[1,2)x'])
def test_cfg_options_that_cannot_be_read(option):
    with pytest.raises(ConfigError, match=r'^--cfg-options a=.*matching brackets'):
        parse_cfg_options(['b=1', option])


@pytest.mark.long
def test_cfg_options_are_merged(config_file):
    assert load_config(config_file, cfg_options=['model.b.c=[3]']).model.b.c == [3]


@pytest.mark.parametrize(('text', 'message'), [
    ('model = dict(', 'the config cannot be read: SyntaxError'),
    ("_base_ = './missing.py'", 'the config cannot be read: .*/missing.py: no such file'),
    ('model = dict(type=Missing)', 'the config cannot be read: NameError'),
])
def test_unreadable_config(tmp_path, text, message):
    path = tmp_path / 'bad.py'
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_missing_config(tmp_path):
    with pytest.raises(ConfigError, match='no such config file'):
        load_config(tmp_path / 'none.py')


def test_imports_given_as_an_option(config_file, tmp_path, monkeypatch):
    (tmp_path / 'mine_given_late.py').write_text('import sys\nsys.given_late = 1\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, 'given_late', 0, raising=False)
    load_config(config_file, cfg_options=['custom_imports.imports=[mine_given_late]'])
    assert sys.given_late == 1
    with pytest.raises(ConfigError, match='custom_imports: .*nothere_xyz'):
        load_config(config_file, cfg_options=['custom_imports.imports=[nothere_xyz]'])


def test_malformed_option(config_file):
    with pytest.raises(ConfigError, match='--cfg-options model.a: expected key=value'):
        load_config(config_file, cfg_options=['model.a'])


def test_config_without_sets():
    cfg = Config(dict(model=dict()))
    set_data_root(cfg, 'x')
    assert cfg.data_root == 'x'
    assert datasets_of(None) == []


def test_shortcuts_set_all_their_places(tmp_path):
    path = tmp_path / 'short.py'
    path.write_text("size = 8\npipe = [dict(type='Resize', scale=size)]\nval_dataloader = dict(num_workers=1, "
                    "persistent_workers=True, dataset=dict(pipeline=pipe))\nloss = dict(weight=1)\n"
                    "data_shortcuts = dict(size=['val_dataloader.dataset.pipeline.0.scale'], "
                    "workers=['val_dataloader.num_workers'])\n"
                    "more_shortcuts = dict(weight=['loss.weight'], bad=['a.b'])")
    cfg = load_config(path, cfg_options=['size=16', 'weight=0.5', 'workers=0'])
    assert cfg.val_dataloader.dataset.pipeline[0].scale == cfg.size == 16
    assert cfg.loss.weight == 0.5
    assert cfg.val_dataloader.num_workers == 0
    assert cfg.val_dataloader.persistent_workers is False  # torch refuses it without workers
    cfg = load_config(path, cfg_options=['size=16', 'val_dataloader.dataset.pipeline.0.scale=32'])
    assert cfg.val_dataloader.dataset.pipeline[0].scale == 32
    with pytest.raises(ConfigError, match='bad=1: the config offers it for a.b, which it lacks'):
        load_config(path, cfg_options=['bad=1'])


@pytest.mark.parametrize(('option', 'message'), [
    ('img_sise=64', 'img_sise=64: nothing reads "img_sise".* Did you mean "img_size"'),
    ('patiense=3', 'Did you mean "patience"'), ('epochs=3', 'Did you mean "max_epochs"'),
    ('modle.head.dropout=1', 'nothing reads "modle".* Did you mean "model"'),
    ('bs=3', 'nor a shortcut of it .*num_heads.*nor a key of the Runner.$'),
    ('visualizer.vis_backends.1.type=A', 'vis_backends.1.type=A: the config has no such place.*Index 1 exceeds'),
    ('max_epochs.a=3', 'max_epochs.a=3: the config has no such place.*a value of another kind'),
    ('train_dataloader.dataset.pipeline.0=3', r'pipeline.0=3: the config has no such place'),
    ('model.backbone.init_cfg.checkpoint=a.pth', 'model.backbone begins with random weights.*type=Pretrained '
                                                 'model.backbone.init_cfg.checkpoint=FILE, or pretrained=FILE'),
    ('model.init_cfg.prefix=a', 'model begins with random weights'),
])
def test_options_without_effect_are_refused(option, message):
    with pytest.raises(ConfigError, match=message):
        load_config(LISTED, cfg_options=['lr=0.1', option])


@pytest.mark.parametrize('option', ['load_from=a.pth', 'allow_partial_weights=True', 'randomness.seed=3',
                                    'device=cpu', 'work_dir=there', 'model.init_cfg.type=Pretrained',
                                    'vis_backends=[]', 'custom_hooks=[]'])
def test_keys_that_something_reads_may_be_new(option):
    load_config(LISTED, cfg_options=[option])


@pytest.mark.parametrize('recipe', ['densenet121_nih', 'vit_tiny_nih_128', 'efficientnet_lite0_nih_160'])
def test_the_size_of_films_by_one_name(recipe):
    plain, cfg = load_config(recipe), load_config(recipe, cfg_options=['img_size=192'])
    for split in ('train', 'val', 'test'):
        steps, before = (one[f'{split}_dataloader'].dataset.pipeline for one in (cfg, plain))
        assert [step.get('scale') for step in steps if step.type == 'Resize'] == [192]
        assert [step for step in steps if step.type != 'Resize'] == [step for step in before if step.type != 'Resize']
    with pytest.raises(ConfigError, match='nothing reads "img_size"'):
        load_config('ensemble_resnet18_densenet_nih', cfg_options=['img_size=192'])


def test_two_bases_with_one_name(tmp_path):
    (tmp_path / 'a.py').write_text("_base_ = ['cxrdet::faster_rcnn_bifpn_lite0_cell.py', "
                                   "'cxrdet::_base_/backbones/resnet50.py']")
    said = 'two of its _base_ both give backbone, backbone_channels, backbone_preprocessor, backbone_strides. Stand on'
    with pytest.raises(ConfigError, match=said):
        load_config(tmp_path / 'a.py')


def test_data_root_as_an_option():
    by_option = load_config(LISTED, cfg_options=['data_root=/elsewhere', 'img_size=32'])
    assert by_option.pretty_text == load_config(LISTED, cfg_options=['img_size=32'], data_root='/elsewhere').pretty_text
    assert by_option.val_dataloader.dataset.data_root == by_option.data_root == '/elsewhere'
    cfg = load_config(LISTED, cfg_options=['data_root=/a', 'val_dataloader.dataset.data_root=/b'])
    assert (cfg.train_dataloader.dataset.data_root, cfg.val_dataloader.dataset.data_root) == ('/a', '/b')


@pytest.mark.parametrize(('config', 'part'), [
    ('resnet18_csv', 'model.backbone'), ('resnet18_bot_csv', 'model.backbone'),
    ('resnet18_hybrid_crops_64', 'model.backbone'), ('resnet18_distilled_csv', 'model.student.backbone')])
def test_pretrained_weights_and_rate_of_the_head(config, part):
    path = f'configs/{config}.py'
    cfg = load_config(path, cfg_options=['pretrained=a.pth', 'head_lr_mult=3'])
    node = cfg
    for key in part.split('.'):
        node = node[key]
    assert node.init_cfg == dict(type='Pretrained', checkpoint='a.pth')
    assert {key.lr_mult for key in cfg.optim_wrapper.paramwise_cfg.custom_keys.values()} == {3}
    assert key_problems(cfg) == []
    assert load_config(path, cfg_options=['pretrained=None']).model.get('init_cfg') is None


def test_sets_that_their_root_alone_describes(tmp_path):
    path = tmp_path / 'roots.py'
    path.write_text("train_dataloader = dict(dataset=dict(type='RepeatDataset', dataset=dict(type='CustomDataset',"
                    "data_root='a')))\n"
                    "val_dataloader = dict(dataset=dict(type='cxrdet.CSVImageDataset', data_root='a'))")
    cfg = load_config(path, data_root='b', train_limit=3, valid_limit=2)
    assert cfg.train_dataloader.dataset.dataset == dict(type='CustomDataset', data_root='b', indices=3)
    assert cfg.val_dataloader.dataset == dict(type='cxrdet.CSVImageDataset', data_root='b', indices=2)


@pytest.mark.parametrize(('argument', 'message'), [
    (dict(data_root='b'), '--data-root b: there is no data set in train_dataloader, val_dataloader, test_dataloader'),
    (dict(train_limit=2), '--train-limit 2: there is no data set in train_dataloader that'),
    (dict(valid_limit=3), '--valid-limit 3: there is no data set in val_dataloader, test_dataloader that')])
def test_a_root_or_a_limit_that_finds_no_set(argument, message, tmp_path):
    path = tmp_path / 'rootless.py'
    path.write_text("train_dataloader = dict(dataset=dict(type='Made', number=4))\nval_dataloader = train_dataloader")
    with pytest.raises(ConfigError, match=message):
        load_config(path, **argument)


def test_a_copy_of_a_config_far_from_its_project(tmp_path, monkeypatch):
    """As a training writes it into its folder, where the package is installed without the repository."""
    monkeypatch.setattr('cxrdet.preflight.config.make_projects_importable', lambda path: None)
    monkeypatch.setattr(sys, 'path', [place for place in sys.path if not Path(place, 'projects').is_dir()])
    for name in [name for name in sys.modules if name.partition('.')[0] == 'projects']:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / 'copy.py').write_text("custom_imports = dict(imports=['projects.made_up.made_up'])\n")
    with pytest.raises(ConfigError, match="No module named 'projects'.*PYTHONPATH"):
        load_config(tmp_path / 'copy.py')


def test_a_config_names_the_modules_of_its_project(tmp_path, monkeypatch):
    """Also where a config of somebody else inherits from one of a project."""
    monkeypatch.setattr(sys, 'path', list(sys.path))
    project = tmp_path / 'clone' / 'projects' / 'made_up'
    for folder in ('configs', 'made_up'):
        (project / folder).mkdir(parents=True)
    (project / 'made_up' / '__init__.py').write_text('')
    (project / 'configs' / 'base.py').write_text(
        "custom_imports = dict(imports=['cxrdet', 'projects.made_up.made_up'])\nmodel = dict(type='A')\n")
    (tmp_path / 'mine.py').write_text("_base_ = './clone/projects/made_up/configs/base.py'\n")
    assert load_config(tmp_path / 'mine.py').model == dict(type='A')
    assert sys.modules.pop('projects.made_up.made_up').__file__ == str(project / 'made_up' / '__init__.py')
    sys.modules.pop('projects.made_up')
