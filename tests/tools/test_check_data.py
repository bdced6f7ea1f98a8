"""tools/check_data.py: what it prints, its exit codes, and that it needs no framework."""
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / 'tools' / 'check_data.py'


@pytest.fixture(scope='module')
def run():
    import importlib.util
    spec = importlib.util.spec_from_file_location('tools_check_data', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def small_set(tmp_path):
    root = tmp_path / 'set'
    (root / 'images').mkdir(parents=True)
    (root / 'annotations').mkdir()
    cv2.imwrite(str(root / 'images' / 'u.png'), np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8))
    content = {'images': [{'id': 1, 'file_name': 'u.png', 'height': 60, 'width': 80}],
               'annotations': [{'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 30, 40]},
                               {'id': 2, 'image_id': 1, 'category_id': 1, 'bbox': [50, 2, 0, 40]}],
               'categories': [{'id': 1, 'name': 'cell'}]}
    (root / 'annotations' / 'train.json').write_text(json.dumps(content))
    return root




def test_table_json_and_exit_codes(run, small_set, tmp_path, capsys):
    assert run([str(small_set), '--workers', '1', '--json', str(tmp_path / 'r.json')]) == 1
    said = capsys.readouterr()
    assert 'coco, 1 images, 2 boxes' in said.out
    assert 'error         1  zero_area_box' in said.out
    assert 'annotations/train.json annotations[1] (id 2): box (50, 2, 50, 42) is 0 x 40 px' in said.out
    assert said.err == ''  # no bar where no terminal is
    report = json.loads((tmp_path / 'r.json').read_text())
    assert report['failed'] and report['findings'][0] == {
        'level': 'error', 'code': 'zero_area_box', 'file': str(small_set / 'annotations' / 'train.json'),
        'row': 'annotations[1]', 'id': 2, 'text': 'box (50, 2, 50, 42) is 0 x 40 px, less than a pixel wide or high'}
    assert run([str(small_set), '--fix', str(tmp_path / 'out')]) == 0
    assert 'mended copy: 1 dropped box; 0 findings are left' in capsys.readouterr().out
    assert run([str(tmp_path / 'out')]) == 0
    assert 'nothing was found' in capsys.readouterr().out


def test_what_cannot_be_mended_is_said(run, small_set, tmp_path, capsys):
    path = small_set / 'annotations' / 'train.json'
    path.write_text(path.read_text().replace('"height": 60', '"height": 61'))
    assert run([str(small_set), '--fix', str(tmp_path / 'out')]) == 1
    assert 'not mended: error, size_mismatch: "u.png" has 80 x 60 px' in capsys.readouterr().out


def test_annotations_only(run, small_set, capsys):
    (small_set / 'images' / 'u.png').unlink()
    assert run([str(small_set), '--no-pixels']) == 1
    assert 'missing_file' not in capsys.readouterr().out
    assert run([str(small_set)]) == 1
    assert 'missing_file' in capsys.readouterr().out


def test_bad_usage(run, small_set, tmp_path, capsys):
    assert run([str(tmp_path / 'none')]) == 2
    assert 'error: ' in capsys.readouterr().err
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'x').write_text('')
    assert run([str(small_set), '--fix', str(tmp_path / 'mine')]) == 2
    assert 'Choose an empty or new folder' in capsys.readouterr().err
    assert run([str(small_set), '--format', 'dicom']) == 2


def test_no_framework_is_needed(small_set):
    """Neither torch nor MMDetection is imported: a check starts in a second."""
    code = ('import sys; from cxrdet.curation.check_data import check_data; '
            f'check_data({str(small_set)!r}); '
            'print([name for name in ("torch", "mmcv", "mmdet", "mmpretrain") if name in sys.modules])')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'


def test_the_front_door_of_the_apis():
    """Functions bear the names of their modules; importing a module must not put it in place of the function."""
    code = ('import cxrdet.apis, importlib; module = importlib.import_module("cxrdet.apis.train"); '
            'from cxrdet.apis import load_config, train; '
            'print(callable(load_config), train is module.train, hasattr(cxrdet.apis, "nothing"))')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ['True', 'True', 'False']
    from importlib import import_module

    import cxrdet.apis
    for room, name in (('apis', 'train'), ('apis', 'test'), ('inference', 'predict'), ('analysis', 'compare')):
        assert getattr(cxrdet.apis, name) is getattr(import_module(f'cxrdet.{room}.{name}'), name)
