"""Who serves ``mmcv._ext``: a compiled one always, the bridge otherwise; and what ``import cxrdet`` costs."""
import concurrent.futures
import importlib
import importlib.machinery
import json
import multiprocessing
import subprocess
import sys

import pytest

from cxrdet.ops import finder, install


@pytest.fixture
def fake_mmcv(tmp_path, monkeypatch):
    """An empty package ``mmcv`` in front of the real one; returns its folder. All modules come back afterwards."""
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split('.')[0] == 'mmcv'}
    package = tmp_path / 'mmcv'
    package.mkdir()
    (package / '__init__.py').touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, 'meta_path', [f for f in sys.meta_path if type(f).__module__ != 'cxrdet.ops.finder'])
    yield package
    for name in list(sys.modules):
        if name.split('.')[0] == 'mmcv':
            del sys.modules[name]
    sys.modules.update(kept)


def test_without_the_bridge_there_is_no_extension(fake_mmcv):
    with pytest.raises(ModuleNotFoundError, match=r'mmcv\._ext'):
        importlib.import_module('mmcv._ext')


def test_the_bridge_answers_when_nothing_else_does(fake_mmcv):
    install()
    extension = importlib.import_module('mmcv._ext')
    assert extension.nms.__module__ == 'cxrdet.ops.nms'
    assert extension.__spec__.origin == 'cxrdet.ops'
    with pytest.raises(ModuleNotFoundError, match=r'mmcv\._other'):
        importlib.import_module('mmcv._other')


def test_a_compiled_extension_wins(fake_mmcv):
    (fake_mmcv / '_ext.py').write_text('nms = "compiled"\n')
    install()
    extension = importlib.import_module('mmcv._ext')
    assert extension.nms == 'compiled'
    assert not hasattr(extension, 'roi_align_forward')


def test_a_finder_of_an_editable_install_wins(fake_mmcv, monkeypatch):
    class Editable:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == 'mmcv._ext':
                return importlib.machinery.ModuleSpec(name, importlib.machinery.BuiltinImporter, origin='elsewhere')
            return None

    install()
    monkeypatch.setattr(sys, 'meta_path', [*sys.meta_path[:-1], Editable, sys.meta_path[-1]])
    assert importlib.util.find_spec('mmcv._ext').origin == 'elsewhere'


def test_an_imported_extension_stays(fake_mmcv):
    importlib.import_module('mmcv')
    present = sys.modules['mmcv._ext'] = type(sys)('mmcv._ext')
    install()
    assert importlib.import_module('mmcv._ext') is present


def test_an_extension_that_cannot_be_loaded_is_explained(fake_mmcv):
    library = fake_mmcv / f'_ext{importlib.machinery.EXTENSION_SUFFIXES[0]}'
    library.write_bytes(b'not a library')
    install()
    with pytest.raises(ImportError, match=r'(?s)mmcv, .*_ext.* cannot be loaded') as caught:
        importlib.import_module('mmcv._ext')
    assert isinstance(caught.value.__cause__, ImportError)


def test_install_is_idempotent_and_keeps_the_bridge_last():
    install()
    before = list(sys.meta_path)
    install()
    assert sys.meta_path == before
    assert sum(isinstance(f, finder.BridgeFinder) for f in before) == 1
    kinds = [f if isinstance(f, type) else type(f) for f in before]
    assert kinds.index(finder.BridgeFinder) > kinds.index(importlib.machinery.PathFinder)


COST = """
import json, sys, time
start = time.perf_counter()
import torch
middle = time.perf_counter()
import cxrdet
end = time.perf_counter()
heavy = sorted({'torchvision', 'mmcv', 'mmdet', 'mmpretrain', 'cv2', 'albumentations'} & set(sys.modules))
print(json.dumps({'torch': middle - start, 'cxrdet': end - middle, 'heavy': heavy}))
"""


def test_importing_cxrdet_is_cheap():
    result = subprocess.run([sys.executable, '-c', COST], capture_output=True, text=True, check=True)
    cost = json.loads(result.stdout)
    assert cost['heavy'] == []
    assert cost['cxrdet'] < 0.5 * cost['torch']


def test_spawned_processes_have_the_bridge(ops):
    """As in a DataLoader with spawned workers: the child imports a part of cxrdet and with it the bridge."""
    from cxrdet.ops.__main__ import origins
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('spawn')) as pool:
        assert pool.submit(origins).result(timeout=300)['nms'] == 'torchvision kernel'
