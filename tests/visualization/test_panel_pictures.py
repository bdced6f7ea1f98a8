"""Curves as files; their numbers are tested in tests/core, so here it is what stands on the page."""
import cv2
import numpy as np
import pytest

from cxrdet.visualization.panel_pictures import draw_panels
from cxrdet.visualization.panels import calibration_panel, detection_pr_panels, froc_panels, pr_panels, roc_panels

CLASSES = ['Mass', 'Nodule', 'Hernia']


@pytest.fixture(scope='module')
def data():
    rng = np.random.default_rng(0)
    true = (rng.random((200, 3)) < 0.3).astype(float)
    true[:, 2] = 0
    true[:20, 0] = np.nan
    return true, rng.normal(size=true.shape) + np.nan_to_num(true)


def texts(monkeypatch):
    """Everything that is written into the figures from now on."""
    from matplotlib.axes import Axes
    seen, text, title = [], Axes.text, Axes.set_title
    monkeypatch.setattr(Axes, 'text', lambda self, x, y, s, **k: seen.append(s) or text(self, x, y, s, **k))
    monkeypatch.setattr(Axes, 'set_title', lambda self, s, **k: seen.append(s) or title(self, s, **k))
    return seen


def test_roc_page(data, tmp_path, monkeypatch):
    seen = texts(monkeypatch)
    draw_panels(tmp_path / 'sub' / 'roc.png', roc_panels(*data, CLASSES, groups=np.arange(200) // 2, samples=20))
    known = int((~np.isnan(data[0][:, 0])).sum())
    assert f'Mass  ({int(np.nansum(data[0][:, 0]))} of {known})' in seen and 'Hernia  (0 of 200)' in seen
    assert 'no curve: lacks positives or negatives' in seen
    assert sum(text.startswith('AUROC 0.7') and ' [0.' in text for text in seen) == 2
    picture = cv2.imread(str(tmp_path / 'sub' / 'roc.png'))
    assert min(picture.shape[:2]) > 400
    blue = (np.abs(picture.astype(int) - (178, 114, 0)).max(axis=2) < 10).sum()
    draw_panels(tmp_path / 'plain.png', roc_panels(*data, CLASSES, samples=0))
    band = (np.abs(picture.astype(int) - (240, 227, 204)).max(axis=2) < 16).sum()
    plain = cv2.imread(str(tmp_path / 'plain.png')).astype(int)
    assert blue > 200 and band > 2000 > (np.abs(plain - (240, 227, 204)).max(axis=2) < 16).sum()


def test_pr_page(data, tmp_path, monkeypatch):
    seen = texts(monkeypatch)
    draw_panels(tmp_path / 'pr.png', pr_panels(*data, CLASSES))
    assert 'no curve: lacks positives' in seen and sum(text.startswith('AP 0.') for text in seen) == 2
    assert (tmp_path / 'pr.png').stat().st_size > 5000


def test_empty_data(tmp_path):
    for panels in (roc_panels, pr_panels):
        draw_panels(tmp_path / 'empty.svg', panels(np.zeros((0, 3)), np.zeros((0, 3)), CLASSES))
        assert 'svg' in (tmp_path / 'empty.svg').read_text()[:400]


def test_names_that_do_not_fit(data, tmp_path):
    with pytest.raises(ValueError, match='one name for each of 3 classes, got 2'):
        draw_panels(tmp_path / 'x.png', roc_panels(*data, CLASSES[:2]))
    assert not list(tmp_path.iterdir())


def test_calibration_and_froc_pages(data, tmp_path, monkeypatch):
    from cxrdet.core.detection.matching import LesionTable
    seen = texts(monkeypatch)
    true, score = np.nan_to_num(data[0]), 1 / (1 + np.exp(-data[1]))
    draw_panels(tmp_path / 'calibration.png', [calibration_panel(true[:, i], score[:, i], name, samples=20)
                                               for i, name in enumerate(CLASSES)])
    assert sum(text.startswith('calibration error 0.') for text in seen) == 3
    rng = np.random.default_rng(2)
    labels, image = rng.integers(3, size=200), rng.integers(20, size=200)
    table = LesionTable(rng.random(200), rng.random(200) < 0.5, labels, image, np.full((20, 3), 5))
    draw_panels(tmp_path / 'froc.png', froc_panels(table, CLASSES, samples=20))
    draw_panels(tmp_path / 'pr.png', detection_pr_panels(table, CLASSES, samples=20))
    assert 'all classes  (300 boxes)' in seen and sum(text.startswith('AP 0.') for text in seen) == 3
    for name in ('calibration', 'froc', 'pr'):
        picture = cv2.imread(str(tmp_path / f'{name}.png')).astype(int)
        color = (178, 114, 0) if name != 'pr' else (0, 94, 213)
        assert (np.abs(picture - color).max(axis=2) < 10).sum() > 100, name


def test_no_panel(tmp_path):
    with pytest.raises(ValueError, match='at least one panel'):
        draw_panels(tmp_path / 'x.png', [])
