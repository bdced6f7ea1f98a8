"""Which file a config argument means."""
import subprocess
import sys
from pathlib import Path

import pytest

from cxrdet.core.errors import ConfigError
from cxrdet.core.recipes import configs_folder, find_config, make_projects_importable, recipes

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.mark.parametrize(('name', 'file'), [
    ('densenet121_nih', 'densenet121_nih.py'),
    ('densenet121_nih.py', 'densenet121_nih.py'),
    ('faster_rcnn_fpn_bccd_ohem', 'ablations/bccd/faster_rcnn_fpn_bccd_ohem.py'),
    ('configs/faster_rcnn_fpn_bccd_ohem.py', 'ablations/bccd/faster_rcnn_fpn_bccd_ohem.py'),  # where it stood once
    ('ablations/bccd/faster_rcnn_fpn_bccd_ohem', 'ablations/bccd/faster_rcnn_fpn_bccd_ohem.py'),
    ('cxrdet::densenet121_nih.py', 'densenet121_nih.py'),
    ('cxrdet::faster_rcnn_fpn_bccd_ohem.py', 'ablations/bccd/faster_rcnn_fpn_bccd_ohem.py'),
    ('cxrdet::_base_/models/faster_rcnn_r50_fpn.py', '_base_/models/faster_rcnn_r50_fpn.py')])
def test_a_name_means_a_file_of_the_package(name, file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == str(CONFIGS / file)


def test_a_file_goes_before_a_recipe_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('densenet121_nih.py', 'configs/densenet121_nih.py'):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
        assert find_config(name) == name
    assert find_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py').startswith('mmdet::')


@pytest.mark.parametrize(('name', 'message'), [
    ('densnet121_nih', 'Did you mean "densenet121_nih"'), ('configs/none.py', 'configs/none.py: no such config file'),
    ('configs/faster_rcnn_fpn_cell_albu.py', r'Did you mean "faster_rcnn_fpn_cell\+albumentations"'),
    ('faster_rcnn_fpn_cell_multiscale', r'"faster_rcnn_fpn_cell\+multi_scale"'),
    ('faster_rcnn_fpn_cell_ohem', r'"faster_rcnn_fpn_cell\+ohem"'),
    ('faster_rcnn_fpn_cell_', 'Did you mean "faster_rcnn_fpn_cell"'),
    ('cxrdet::none.py', 'no such config file'), ('elsewhere/densenet121_nih.py', 'no such config file'),
    ('', 'no such config file')])
def test_no_such_config(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        find_config(name)


def test_recipes_of_an_installed_package(tmp_path, monkeypatch):
    """Without a repository around it, the package has its own copy."""
    folder = tmp_path / 'site' / 'cxrdet' / '.mim' / 'configs'
    (folder / 'ablations' / 'nih').mkdir(parents=True)
    for name in ('b.py', 'ablations/nih/a.py', '_base_'):
        (folder / name).mkdir() if name == '_base_' else (folder / name).touch()
    monkeypatch.setattr('cxrdet.core.recipes._PACKAGE', tmp_path / 'site' / 'cxrdet')
    assert configs_folder() == folder
    assert recipes() == {'b': folder / 'b.py', 'a': folder / 'ablations' / 'nih' / 'a.py'}


@pytest.mark.parametrize('base', ['cxrdet::faster_rcnn_bifpn_cell_tiny.py', 'cxrdet::faster_rcnn_fpn_bccd_ohem.py',
                                  'cxrdet::_base_/models/faster_rcnn_r18_fpn.py'])
def test_a_config_anywhere_inherits_from_the_package(base, tmp_path):
    from mmengine.config import Config

    import cxrdet  # noqa: F401
    path = tmp_path / 'mine.py'
    path.write_text(f"_base_ = '{base}'\nmodel = dict(backbone=dict(depth=34))\n")
    cfg = Config.fromfile(path)
    assert cfg.model.type == 'FasterRCNN' and cfg.model.backbone.depth == 34


@pytest.mark.parametrize(('base', 'message'), [
    ('cxrdet::faster_rcnn_bifpn_sell.py', 'Did you mean "faster_rcnn_bifpn_cell"'),
    ('./resnet34_nih_old.py', 'resnet34_nih_old.py: no such file.* _base_ = "cxrdet::resnet34_nih_old.py"'),
    ('other.py', 'other.py: no such file')])
def test_a_base_that_is_not_there(base, message, tmp_path):
    from cxrdet.preflight.config import load_config
    path = tmp_path / 'mine.py'
    path.write_text(f"_base_ = '{base}'\n")
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_the_built_package_has_the_configs(tmp_path):
    root = CONFIGS.parent
    subprocess.run([sys.executable, 'setup.py', '-q', 'egg_info', '--egg-base', tmp_path, 'build_py', '--build-lib',
                    tmp_path], cwd=root, check=True, capture_output=True)
    built = tmp_path / 'cxrdet' / '.mim' / 'configs'
    files = {path.relative_to(built) for path in built.rglob('*') if path.is_file()}
    assert files == {path.relative_to(CONFIGS) for path in CONFIGS.rglob('*')
                     if path.is_file() and '__pycache__' not in path.parts}


@pytest.mark.parametrize('place', ['projects/toy/configs/x.py', 'projects/toy/configs/deep/x.py', 'elsewhere/x.py'])
def test_the_folder_above_a_project_is_importable(place, tmp_path, monkeypatch):
    """Behind all others, and once."""
    monkeypatch.setattr('cxrdet.core.recipes._PACKAGE', tmp_path / 'package' / 'cxrdet')
    monkeypatch.setattr(sys, 'path', before := list(sys.path))
    (tmp_path / 'projects').mkdir()
    (tmp_path / 'package' / 'projects').mkdir(parents=True)
    start = list(before)
    make_projects_importable(tmp_path / place)
    make_projects_importable(tmp_path / place)
    assert sys.path == [*start, str(tmp_path / 'package'), *([str(tmp_path)] if 'projects/' in place else [])]
