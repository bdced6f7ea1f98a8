"""The sheet of the worst images; that of evenly spaced ones is tested with tools/compare.py."""
from importlib import import_module
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from cxrdet.core.errors import ConfigError
from cxrdet.core.predictions import Collected
from cxrdet.datasets.formats.images import read_image

compare = import_module('cxrdet.analysis.compare')


@pytest.fixture
def judged(tmp_path):
    """Three images of one object each: found, missed, and missed with a false alarm elsewhere."""
    records, target = [], np.array([[10., 10, 60, 60]])
    for number, found in enumerate(([target[0]], [], [[100, 100, 150, 150]])):
        cv2.imwrite(str(tmp_path / f'{number}.png'), np.full((200, 200, 3), 128, np.uint8))
        records.append(dict(image=str(tmp_path / f'{number}.png'), width=200, height=200, facts={},
                            boxes=np.array(found, float).reshape(-1, 4), scores=np.full(len(found), 0.9),
                            labels=np.zeros(len(found), int), gt_boxes=target, gt_labels=np.zeros(1, int),
                            gt_ignore=np.zeros(1, bool)))
    return Collected('detection', ('cell',), 'test', np.ones((3, 1)), [{}] * 3, records, read_image)


@pytest.fixture
def made(judged, monkeypatch):
    monkeypatch.setattr(compare, 'load_model', lambda *_, **__: SimpleNamespace(task=judged.task))
    monkeypatch.setattr(compare, 'collect', lambda *_, **__: judged)
    seen, grid = [], compare.grid
    monkeypatch.setattr(compare, 'grid', lambda pairs, columns, titles: seen.extend(titles) or grid(
        pairs, columns, titles=titles))
    return seen


def test_the_worst_come_first_and_say_why(made, tmp_path):
    sheet = compare.compare(None, 'x.pth', out=tmp_path / 'sheet.png', worst=True)
    assert made == ['2.png: 1 cell where nothing is (score 0.90); 1 cell missed', '1.png: 1 cell missed']
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / 'sheet.png')), sheet)


def test_errors(made, judged, tmp_path):
    judged.records[:] = judged.records[:1]
    with pytest.raises(ConfigError, match='No image has an error at scores from 0.5'):
        compare.compare(None, 'x.pth', out=tmp_path / 'sheet.png', worst=True)
    judged.task = 'multi-label'
    with pytest.raises(ConfigError, match=r'cxrdet report shows the worst images of a classifier'):
        compare.compare(None, 'x.pth', out=tmp_path / 'sheet.png', worst=True)
