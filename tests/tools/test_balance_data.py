"""tools/balance_data.py: the command line, and the mod that does the same without copies."""
import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / 'tools' / 'balance_data.py'


@pytest.fixture(scope='module')
def run():
    spec = importlib.util.spec_from_file_location('tools_balance_data', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def small_set(tmp_path):
    root = tmp_path / 'set'
    (root / 'images').mkdir(parents=True)
    (root / 'annotations').mkdir()
    images, annotations = [], []
    for k in range(10):
        noise = np.random.default_rng(k).integers(0, 255, (60, 80, 3), np.uint8)
        cv2.imwrite(str(root / 'images' / f'{k}.png'), noise)
        images.append({'id': k, 'file_name': f'{k}.png', 'height': 60, 'width': 80})
        annotations.append({'id': k, 'image_id': k, 'category_id': 2 if k == 0 else 1, 'bbox': [20, 15, 30, 30]})
    content = {'images': images, 'annotations': annotations, 'categories': [{'id': 1, 'name': 'often'},
                                                                            {'id': 2, 'name': 'rare'}]}
    (root / 'annotations' / 'train.json').write_text(json.dumps(content))
    return root




def test_command(run, small_set, tmp_path, capsys):
    assert run([str(small_set), str(tmp_path / 'out'), '--target', '5']) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()[:4]
    assert [line.split() for line in lines] == [
        ['class', 'before', 'after', 'target'], ['often', '9', '9', '5'], ['rare', '1', '5', '5'],
        'largest to smallest class: 9.0 : 1 before, 1.8 : 1 after'.split()]
    assert '4 augmented copies with 0 pasted objects' in said.out and 'MISSED' not in said.out
    assert run([str(small_set), str(tmp_path / 'out'), '--target', '50', '--targets', 'often=0']) == 0
    assert 'TARGET MISSED: "rare" still lacks 29 boxes' in capsys.readouterr().out  # 20 copies of its only object
    report = json.loads((tmp_path / 'out' / 'balance.json').read_text())
    assert not report['reached'] and report['short'] == {'rare': 29} and report['ratio_after'] == pytest.approx(21 / 9)


@pytest.mark.parametrize('arguments, text', [
    (['--targets', 'rare'], '--targets takes CLASS=N, got "rare"'),
    (['--targets', 'rear=3'], 'no class "rear". Did you mean "rare"'),
    (['--split', 'test'], 'no split "test"'),
])
def test_bad_usage(run, small_set, tmp_path, capsys, arguments, text):
    assert run([str(small_set), str(tmp_path / 'out'), *arguments]) == 2
    assert text in capsys.readouterr().err


def test_light_way_repeats_rare_images(small_set):
    """The rare class stands in a tenth of the images: its image comes ceil(sqrt(0.3 / 0.1)) = 2 times."""
    from mmengine.registry import DATASETS, init_default_scope

    from cxrdet.preflight.config import load_config
    cfg = load_config('faster_rcnn_fpn_cell+balanced')
    init_default_scope(cfg.default_scope)
    wrapped = cfg.train_dataloader.dataset
    assert wrapped.dataset.pipeline == cfg.train_pipeline and wrapped.dataset.data_root == cfg.data_root
    wrapped.dataset.update(data_root=str(small_set), pipeline=[])
    dataset = DATASETS.build(wrapped)
    assert len(dataset) == 11 and dataset.metainfo['classes'] == ('often', 'rare')
    assert [dataset[k]['img_id'] for k in range(len(dataset))].count(0) == 2
