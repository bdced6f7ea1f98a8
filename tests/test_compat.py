"""Made-up environments (distribution -> version), what is wrong with each, and the command that mends it."""
import os
import re
import subprocess
import sys

import pytest

from cxrdet import compat

ONEDL = {'onedl-mmengine': '0.10.12', 'onedl-mmcv': '2.3.6', 'onedl-mmdetection': '3.5.1', 'onedl-mmpretrain': '1.3.6'}
OFFICIAL = {'mmengine': '0.10.7', 'mmcv': '2.1.0', 'mmdet': '3.3.0', 'mmpretrain': '1.2.0'}
TORCH = {'torch': '2.12.1', 'torchvision': '0.27.1'}
OLD_TORCH = {'torch': '2.5.1+cu121', 'torchvision': '0.20.1+cu121'}
INSTALL_ONEDL = 'pip install onedl-mmengine onedl-mmcv onedl-mmdetection onedl-mmpretrain'


def without(versions: dict, *names: str) -> dict:
    return {name: version for name, version in versions.items() if name not in names}


@pytest.mark.parametrize('installed', [
    ONEDL | TORCH,
    ONEDL | {'torch': '2.4.0', 'torchvision': '0.19.0'},
    ONEDL | {'torch': '2.12.1+cpu', 'torchvision': '0.27.1+cpu'},
    ONEDL | {'torch': '2.14.0.dev20260901', 'torchvision': '0.28.0.dev20260831'},
    ONEDL | {'torch': '2.13.0a0+git1234', 'torchvision': '0.27.0'},
    ONEDL | {'torch': '3.0.0', 'torchvision': '1.0.0'},
    OFFICIAL | OLD_TORCH,
    without(OFFICIAL, 'mmcv') | {'mmcv-lite': '2.1.0'} | OLD_TORCH,
    OFFICIAL | {'mmcv': '2.2.0', 'mmdet': '3.4.0'} | OLD_TORCH,
])
def test_sets_that_fit(installed):
    assert compat.problems(installed) == []


@pytest.mark.parametrize(('installed', 'text', 'command'), [
    (ONEDL | TORCH | {'mmcv': '2.1.0'},
     r"mmcv 2\.1\.0, onedl-mmcv 2\.3\.6\n.*install the module 'mmcv' and have overwritten",
     f'pip uninstall -y mmcv onedl-mmcv && {INSTALL_ONEDL}'),
    (without(OFFICIAL, 'mmcv') | {'onedl-mmcv': '2.3.6'} | OLD_TORCH,
     r'mmengine 0\.10\.7, mmdet 3\.3\.0, mmpretrain 1\.2\.0 beside onedl-mmcv 2\.3\.6\n.*do not go together',
     f'pip uninstall -y mmengine mmdet mmpretrain && {INSTALL_ONEDL}'),
    (without(ONEDL, 'onedl-mmdetection') | {'mmdet': '3.3.0'} | TORCH,
     r'mmdet 3\.3\.0 beside onedl-mmengine', f'pip uninstall -y mmdet && {INSTALL_ONEDL}'),
    (OFFICIAL | {'mmcv-lite': '2.1.0'} | OLD_TORCH, r'mmcv 2\.1\.0, mmcv-lite 2\.1\.0',
     f'pip uninstall -y mmengine mmcv mmcv-lite mmdet mmpretrain && {INSTALL_ONEDL}'),
    (without(OFFICIAL, 'mmcv') | {'mmcv-full': '1.7.2'} | OLD_TORCH, r'mmcv-full 1\.7\.2\n.*mmcv 1 lacks',
     f'pip uninstall -y mmengine mmcv-full mmdet mmpretrain && {INSTALL_ONEDL}'),
    (OFFICIAL | {'mmcv': '2.2.0'} | OLD_TORCH, r'mmdet 3\.3\.0, mmcv 2\.2\.0\n.*refuses mmcv 2\.2',
     f'pip uninstall -y mmengine mmcv mmdet mmpretrain && {INSTALL_ONEDL}'),
    (OFFICIAL | {'mmdet': '2.28.2'} | OLD_TORCH, r'mmdet 2\.28\.2\n.*not built on MMEngine',
     f'pip uninstall -y mmengine mmcv mmdet mmpretrain && {INSTALL_ONEDL}'),
    (OFFICIAL | TORCH, r'mmengine 0\.10\.7, torch 2\.12\.1\n.*cannot read its own checkpoints',
     f'pip uninstall -y mmengine mmcv mmdet mmpretrain && {INSTALL_ONEDL}'),
    (without(OFFICIAL, 'mmpretrain') | TORCH, r"neither mmpretrain nor onedl-mmpretrain\n.*needs the module 'mmpret",
     f'pip uninstall -y mmengine mmcv mmdet && {INSTALL_ONEDL}'),
    (without(OFFICIAL, 'mmpretrain') | OLD_TORCH, 'neither mmpretrain nor', 'pip install mmpretrain'),
    (without(ONEDL, 'onedl-mmpretrain') | TORCH, 'neither mmpretrain nor', 'pip install onedl-mmpretrain'),
    (without(ONEDL, 'onedl-mmcv') | TORCH, "needs the module 'mmcv'", 'pip install onedl-mmcv'),
    (ONEDL, 'no torch', 'pip install "torch>=2.4" "torchvision>=0.19"'),
    (ONEDL | {'torch': '2.3.1', 'torchvision': '0.18.1'}, r'torch 2\.3\.1\n.*2\.4 or later',
     'pip install "torch>=2.4" "torchvision>=0.19"'),
    (ONEDL | {'torch': '1.13.1', 'torchvision': '0.14.1'}, r'torch 1\.13\.1',
     'pip install "torch>=2.4" "torchvision>=0.19"'),
    (ONEDL | {'torch': '2.12.1'}, r'torch 2\.12\.1 without torchvision', 'pip install "torchvision==0.27.*"'),
    (ONEDL | {'torch': '2.12.1', 'torchvision': '0.22.0'},
     r'torch 2\.12\.1, torchvision 0\.22\.0\n.*torch 2\.12 belongs with torchvision 0\.27',
     'pip install "torchvision==0.27.*"'),
    ({}, 'no torch', f'{INSTALL_ONEDL} "torch>=2.4" "torchvision>=0.19"'),
])
def test_sets_that_do_not_fit(installed, text, command):
    found = compat.problems(installed)
    assert compat.command(found) == command
    message = compat.explain(found)
    assert message.endswith(f'This command mends it:\n    {command}')
    assert re.search(text, message)


def test_every_problem_is_listed_once():
    installed = {'mmcv': '2.1.0', 'onedl-mmcv': '2.3.6', 'torch': '2.3.1', 'torchvision': '0.18.1'}
    message = compat.explain(compat.problems(installed))
    assert message.count('  - found ') == 5  # mmcv twice; mmengine, mmdet, mmpretrain missing; torch too old
    assert message.count('pip uninstall') == message.count('pip install') == 1


def test_check_raises_what_problems_finds(monkeypatch):
    monkeypatch.setattr(compat, 'installed_versions', lambda: ONEDL | TORCH | {'mmcv': '2.1.0'})
    with pytest.raises(ImportError, match='cxrdet cannot work with the installed packages') as caught:
        compat.check_distributions()
    assert isinstance(caught.value, compat.IncompatibleDistributions)
    monkeypatch.setattr(compat, 'installed_versions', lambda: ONEDL | TORCH)
    assert compat.check_distributions() is None


def test_this_environment_fits_and_is_asked_quickly(calls):
    versions = {}
    assert calls(lambda: versions.update(compat.installed_versions())) < 20_000  # not all distributions are read
    assert 'torch' in versions
    assert set(versions) <= set(compat.DISTRIBUTIONS)
    assert compat.problems(versions) == []


def test_odd_version():
    with pytest.raises(ValueError, match="should begin with a number, not 'unknown'"):
        compat.problems(ONEDL | {'torch': 'unknown', 'torchvision': '0.27.1'})


def distribution(folder, version):
    """A transformers of that version that has nothing in it."""
    (folder / 'transformers').mkdir()
    (folder / 'transformers' / '__init__.py').touch()
    info = folder / f'transformers-{version}.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: transformers\nVersion: {version}\n')


@pytest.mark.parametrize(('version', 'avoided'), [
    ('4.57.3', False), ('5.0.0', True), ('5.17.0.dev0', True), ('10.0', True), (None, False)])
def test_multimodal_models_are_left_out_beside_a_new_transformers(version, avoided, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'path', [str(tmp_path)])  # this environment may have one of its own
    monkeypatch.setattr(sys, 'meta_path', [finder for finder in sys.meta_path
                                           if not isinstance(finder, compat.MultimodalFinder)])
    monkeypatch.delitem(sys.modules, compat.MultimodalFinder.name, raising=False)
    if version:
        distribution(tmp_path, version)
    for _ in range(2):
        compat.avoid_new_transformers()
    assert sum(isinstance(finder, compat.MultimodalFinder) for finder in sys.meta_path) == avoided


@pytest.mark.long
def test_models_can_be_imported_beside_a_new_transformers(tmp_path):
    """In a process of its own; without cxrdet this ends in an error inside mmpretrain.models."""
    distribution(tmp_path, '5.17.0')
    code = ('import cxrdet, mmpretrain.models, mmpretrain.datasets\n'
            'from mmpretrain.registry import MODELS\n'
            'assert MODELS.get("ResNet") is not None')
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True,
                          env=os.environ | {'PYTHONPATH': os.pathsep.join([str(tmp_path), *sys.path])})
    assert done.returncode == 0, done.stderr[-2000:]


REGISTRIES = '''
import json, sys
from importlib import import_module
import cxrdet
from cxrdet import compat
file, short = sys.argv[1], len(sys.argv) > 2
if short:
    compat.shorten_start()
from mmengine.registry import Registry
for name in ('mmengine.runner', 'mmengine.visualization', 'mmcv.cnn', 'mmcv.ops', 'mmcv.transforms'):
    import_module(name)

def registries():
    for scope in ('mmdet', 'mmpretrain', 'mmengine'):
        for variable, registry in list(vars(import_module(f'{scope}.registry')).items()):
            if isinstance(registry, Registry) and registry.scope == scope:
                yield f'{scope}.{variable}', registry

def place(found):
    return f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', found)}"

if short:
    known = json.load(open(file))
    before = dict(sys.modules)
    assert not {'sklearn', 'numba', 'matplotlib', 'albumentations', 'torch._dynamo.utils'} & before.keys()
    for name, registry in registries():
        for key, value in known[name].items():
            assert place(registry.get(key)) == value, (name, key, value, registry.get(key))
    assert registry.get('no such name') is None
    for name, registry in registries():
        compat.import_all(registry)
        assert registry.module_dict.keys() == known[name].keys(), name
else:
    for _, registry in registries():
        registry.import_from_location()
    json.dump({name: {key: place(value) for key, value in registry.module_dict.items()}
               for name, registry in registries()}, open(file, 'w'))
'''


@pytest.mark.long
def test_a_short_start_finds_the_same_classes(tmp_path):
    """Every name of every registry of MMEngine, MMDetection and MMPretrain, against all of it imported."""
    for more in ([], ['short']):
        subprocess.run([sys.executable, '-W', 'ignore', '-c', REGISTRIES, tmp_path / 'known.json', *more], check=True)
