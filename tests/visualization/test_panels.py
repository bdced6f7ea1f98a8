"""What the panels of curves hold; the numbers behind them are tested in tests/core."""
import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from cxrdet.core.detection.froc import froc
from cxrdet.core.detection.matching import LesionTable
from cxrdet.visualization.panels import (
    calibration_panel,
    detection_pr_panels,
    froc_panels,
    pr_panels,
    roc_panels,
)
from cxrdet.visualization.plots import write_panels
from cxrdet.visualization.report.page import TEMPLATES


@pytest.fixture(scope='module')
def data():
    rng = np.random.default_rng(0)
    true = (rng.random((90, 2)) < 0.4).astype(float)
    true[:, 1] = 0
    return true, np.clip(0.3 * true + 0.7 * rng.random((90, 2)), 0, 1)


@pytest.fixture(scope='module')
def table():
    rng = np.random.default_rng(1)
    hits, image = rng.random(60) < 0.6, rng.integers(10, size=60)
    labels = np.zeros(60, int)
    lesions = np.stack([np.bincount(image[hits], minlength=10) + 1, np.zeros(10, int)], axis=1)
    return LesionTable(rng.random(60), hits, labels, image, lesions)


@pytest.mark.parametrize('make, text', [(roc_panels, 'no curve: lacks positives or negatives'),
                                        (pr_panels, 'no curve: lacks positives')])
def test_classifier_curves_have_bands_and_say_what_is_missing(make, text, data):
    first, second = make(*data, ['a', 'b'], samples=20, groups=np.arange(90) // 2)
    assert first.title == f'a  ({int(data[0][:, 0].sum())} of 90)' and second.note == text
    curve = first.lines[-1]
    at, low, high = curve.band
    assert (low <= high).all() and (high > low).any() and len(at) == 101
    assert make(*data, ['a', 'b'], samples=0)[0].lines[-1].band is None


def test_drawn_calibration_is_that_of_the_printed_error():
    rng = np.random.default_rng(3)
    prob = rng.random(200)
    true = (rng.random(200) < prob ** 3).astype(float)
    share, mean = calibration_curve(true, prob, n_bins=15)  # of scikit-learn
    panel = calibration_panel(true, prob, 'a', samples=5)
    np.testing.assert_allclose([panel.lines[-1].x, panel.lines[-1].y], [mean, share])
    count = np.histogram(prob, np.linspace(0, 1, 16))[0]
    assert panel.note == f'calibration error {np.abs(mean - share) @ count / 200:.3f}, 200 entries'


def test_detector_curves(table):
    every, lesion, empty = froc_panels(table, ['lesion', 'none'], samples=20)
    assert empty.lines == [] and empty.note == 'no curve: no box of this class'
    expected = froc(table.scores, table.hits, 10, int(table.lesions.sum()))
    assert every.note.startswith(f'mean of 1/8 … 8: {expected.mean:.3f} [0.') and lesion.log_x
    assert lesion.lines[0].y[-1] == expected.curve_sensitivity[-1]
    curve, empty = detection_pr_panels(table, ['lesion', 'none'], samples=20)
    assert curve.lines[0].x.max() == table.hits.sum() / table.lesions.sum() and empty.lines == []
    assert curve.title == f'lesion  ({table.lesions.sum()} boxes)' and curve.note.startswith('AP 0.')


@pytest.mark.parametrize('make', [froc_panels, detection_pr_panels])
@pytest.mark.parametrize('samples', [0, 20])
@pytest.mark.parametrize('kept', [[], [0]], ids=['no detection', 'none of the second class'])
def test_class_without_a_detection(make, samples, kept, tmp_path):
    table = LesionTable(np.full(len(kept), 0.9), np.full(len(kept), True), np.array(kept, int), np.array(kept, int),
                        np.array([[1, 1], [0, 1]]))
    panels = make(table, ['found', 'never'], samples=samples)
    assert not np.concatenate([line.y for line in panels[-1].lines]).any() and '(2 boxes)' in panels[-1].title
    assert '0.000' in panels[-1].note
    assert 'never' in TEMPLATES.get_template('macros.html').module.figures(panels)
    write_panels(tmp_path / 'a.png', panels[-1:])


def test_long_curves_are_thinned():
    n = 20_000
    table = LesionTable(np.linspace(1, 0, n), np.arange(n) % 2 == 0, np.zeros(n, int), np.arange(n) // 20,
                        np.full((n // 20, 1), 10))
    line, = froc_panels(table, ['lesion'], samples=0)[0].lines
    assert len(line.x) <= 1000 and line.y[-1] == 1


def test_calibration(data):
    panel = calibration_panel(data[0][:, 0], data[1][:, 0], 'a', samples=20)
    assert panel.note.startswith('calibration error 0.') and panel.note.endswith('90 entries')
    assert panel.lines[1].marks and (panel.lines[1].band[0] == panel.lines[1].x).all()
    assert calibration_panel([], [], 'none').note == 'no curve: no known label'


def test_names_that_do_not_fit(data):
    with pytest.raises(ValueError, match='one name for each of 2 classes, got 1'):
        pr_panels(*data, ['a'])
