"""Curves and their bands against scikit-learn, pycocotools' rule on repeated images, and sums by hand."""
import numpy as np
import pytest
from sklearn.calibration import calibration_curve as reference_calibration
from sklearn.metrics import precision_recall_curve

from cxrdet.core.bootstrap import draws_of_groups
from cxrdet.core.bootstrap_curves import (
    bootstrap_average_precision,
    bootstrap_recall,
    calibration_curve,
    pr_band,
    pr_curve,
)
from cxrdet.core.detection.average_precision import average_precision
from cxrdet.core.detection.matching import LesionTable


@pytest.fixture(scope='module')
def data():
    rng = np.random.default_rng(0)
    true = rng.random(300) < 0.3
    return true, np.round(1 / (1 + np.exp(-rng.normal(size=300) - true)), 2)


def test_pr_curve_is_that_of_scikit_learn(data):
    true, score = data
    recall, precision = pr_curve(score, true, int(true.sum()))
    expected_precision, expected_recall, _ = precision_recall_curve(true, score)
    np.testing.assert_allclose(recall, expected_recall[:-1][::-1])
    np.testing.assert_allclose(precision, expected_precision[:-1][::-1])


def test_missed_targets_bound_the_recall():
    recall, precision = pr_curve([0.9, 0.8, 0.8], [True, False, True], 4)
    assert recall.tolist() == [0.25, 0.5] and precision.tolist() == [1, 2 / 3]
    assert np.isnan(pr_curve([0.5], [False], 0)[0]).all()
    assert pr_curve([], [], 3)[0].shape == (0,)


def test_band_is_the_quantile_of_slow_draws(data):
    true, score = data
    groups = np.arange(300) // 3
    at, low, high = pr_band(score, true, np.arange(300), true, groups=groups, samples=60)
    curves = []
    for draws in draws_of_groups(300, groups=groups, samples=60):
        for weights in draws.T:
            rows = np.repeat(np.arange(300), weights)
            recall, precision = pr_curve(score[rows], true[rows], int(true[rows].sum()))
            curves.append([precision[np.flatnonzero(recall >= r - 1e-12)[0]] for r in at])
    np.testing.assert_allclose([low, high], np.quantile(curves, (0.025, 0.975), axis=0))


def test_band_is_0_where_the_recall_is_not_reached():
    _, low, high = pr_band([0.9, 0.8], [True, True], [0, 1], [2, 2], samples=10)
    assert (low[:51] == 1).all() and (high[51:] == 0).all()


def test_resampled_average_precision_is_that_of_the_repeated_set():
    rng = np.random.default_rng(1)
    image, labels = rng.integers(20, size=200), rng.integers(2, size=200)
    lesions = np.stack([np.bincount(image[labels == c], minlength=20) for c in range(2)], axis=1)
    table = LesionTable(rng.random(200), rng.random(200) < 0.6, labels, image, lesions)
    found = bootstrap_average_precision([table, table], samples=5, seed=3)
    assert found.shape == (5, 2, 2)
    np.testing.assert_array_equal(found[:, 0], found[:, 1])
    weights, = draws_of_groups(20, samples=5, seed=3)
    for draw, times in enumerate(weights.T):
        for label in range(2):
            rows = np.flatnonzero(labels == label)
            rows = np.repeat(rows, times[image[rows]])
            expected = average_precision(table.scores[rows], table.hits[rows], int(times @ lesions[:, label]))
            assert found[draw, 0, label] == pytest.approx(expected, abs=0.02)  # repeated hits are ties, in any order
    empty = LesionTable(*(np.zeros(0),) * 2, *(np.zeros(0, int),) * 2, np.zeros((4, 1), int))
    assert np.isnan(bootstrap_average_precision([empty], samples=3)).all()
    assert bootstrap_average_precision([]).shape == (0, 0, 0)


def test_calibration_curve_is_that_of_scikit_learn(data):
    true, score = data
    found = calibration_curve(true, score + 0.001, bins=5, samples=30)
    share, mean = reference_calibration(true, score + 0.001, n_bins=5)
    np.testing.assert_allclose(found.share, share)
    np.testing.assert_allclose(found.mean, mean)
    assert found.count.sum() == 300
    assert ((found.low <= found.share) & (found.share <= found.high)).all() and (found.high > found.low)[1:].all()


def test_calibration_by_hand():
    found = calibration_curve([1, 0, 1, np.nan], [0.1, 0.05, 1, 0.5], bins=10, samples=8, groups=[0, 0, 1, 1])
    assert found.mean.tolist() == [pytest.approx(0.075), 1] and found.share.tolist() == [0.5, 1]
    assert found.low.tolist() == found.high.tolist() == [0.5, 1]  # whole groups: the shares never change
    assert calibration_curve([], []).mean.shape == (0,)


@pytest.mark.parametrize('call, text', [
    (lambda: calibration_curve([1], [1.5]), r'probabilities in \[0, 1\], got values from 1.5 to 1.5'),
    (lambda: calibration_curve([1], [1], bins=0), 'at least one bin'),
    (lambda: calibration_curve(np.ones((1, 2)), np.ones((1, 2))), r'labels of one class, \(N,\)'),
    (lambda: pr_curve([1], [], 0), 'one score a detection, got 1 scores and 0 hits'),
    (lambda: pr_band([1], [1], [], [1]), 'one image number a detection, got 0 for 1 detections')])
def test_errors(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_recall_of_resampled_images():
    """Draw by draw against a loop, with the draws of the average precision."""
    rng = np.random.default_rng(0)
    lesions = rng.integers(0, 4, (6, 2))
    image = np.repeat(np.arange(6), 2)
    tables = [LesionTable(np.ones(12), hits, np.tile([0, 1], 6), image, lesions)
              for hits in (np.ones(12, bool) & (lesions.ravel() > 0), np.zeros(12, bool))]
    found = bootstrap_recall(tables, samples=4, seed=2)
    assert found.shape == (4, 2, 2)
    times = np.concatenate([draws.T for draws in draws_of_groups(6, samples=4, seed=2)])
    for draw, weights in enumerate(times):
        for label in range(2):
            hits = sum(weights[i] * (lesions[i, label] > 0) for i in range(6))
            total = sum(weights[i] * lesions[i, label] for i in range(6))
            assert found[draw, 0, label] == pytest.approx(hits / total if total else np.nan, nan_ok=True)
    assert (found[:, 1][~np.isnan(found[:, 1])] == 0).all()
    assert bootstrap_recall([]).shape == (0, 0, 0)
