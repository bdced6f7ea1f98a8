"""FROC by hand, against a slow version that walks through thresholds, and against scikit-learn's AUROC."""
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrdet.core.detection.froc import RATES, froc, froc_interval, image_auroc, lesion_auroc

NAN = np.nan


def slow(scores, hits, n_images, n_lesions, rates=RATES):
    """For each rate the best sensitivity of any threshold with at most that many false positives an image."""
    best = [0.] * len(rates)
    for threshold in [*scores, max(scores, default=0) + 1]:
        found = sum(h for s, h in zip(scores, hits) if s >= threshold)
        false = sum(not h for s, h in zip(scores, hits) if s >= threshold) / n_images
        best = [max(b, found / n_lesions) if false <= rate else b for b, rate in zip(best, rates)]
    return best


def draw(seed):
    """Ten to thirty images, at most eight detections each, scores full of ties."""
    rng = np.random.default_rng(seed)
    lesions = rng.integers(0, 4, int(rng.integers(10, 30)))
    lesions[0] = 2
    image, hits = [], []
    for number, count in enumerate(lesions):
        found, false = int(rng.integers(0, count + 1)), int(rng.integers(0, 6))
        image += [number] * (found + false)
        hits += [True] * found + [False] * false
    hits = np.array(hits, bool)
    return rng.integers(0, 15, len(hits)) / 10 + 0.3 * hits, hits, np.array(image), lesions


@pytest.mark.parametrize('seed', range(30))
def test_equals_the_slow_version(seed):
    scores, hits, _, lesions = draw(seed)
    result = froc(scores, hits, len(lesions), lesions.sum())
    expected = slow(scores.tolist(), hits.tolist(), len(lesions), lesions.sum())
    np.testing.assert_allclose(result.sensitivity, expected)
    assert result.mean == pytest.approx(np.mean(expected))
    order = np.random.default_rng(seed).permutation(len(scores))
    for one, other in zip(result, froc(scores[order], hits[order], len(lesions), lesions.sum())):
        np.testing.assert_array_equal(one, other)


def test_by_hand():
    # four images, two lesions: hit, false, (hit, false) with one score, false
    result = froc([.9, .8, .7, .7, .1], [1, 0, 0, 1, 0], 4, 2)
    np.testing.assert_allclose(result.curve_rates, [0, 0, .25, .5, .75])
    np.testing.assert_allclose(result.curve_sensitivity, [0, .5, .5, 1, 1])
    np.testing.assert_allclose(result.thresholds, [np.inf, .9, .8, .7, .1])
    np.testing.assert_allclose(result.sensitivity, [.5, .5, 1, 1, 1, 1, 1])
    assert result.mean == pytest.approx(6 / 7)
    assert froc([.9, .8], [0, 1], 4, 1, rates=[.2, .25]).sensitivity.tolist() == [0, 1]


@pytest.mark.parametrize('scores, hits, lesions, expected', [
    ([], [], 3, 0), ([.5], [False], 0, NAN), ([], [], 0, NAN), ([.5], [True], 1, 1), ([.5], [False], 2, 0)])
def test_little_input(scores, hits, lesions, expected):
    result = froc(scores, hits, 1, lesions)
    np.testing.assert_array_equal(result.sensitivity, [expected] * 7)
    np.testing.assert_array_equal(result.mean, expected)


def slow_interval(scores, hits, image, lesions, groups, samples, seed):
    """The same draws, but the sets that they describe are built and judged one by one."""
    names, member = np.unique(groups, return_inverse=True)
    rng, means = np.random.default_rng(seed), []
    for _ in range(samples):
        chosen = rng.integers(len(names), size=len(names))
        rows = [i for name in chosen for i in np.flatnonzero(member == name)]
        take = [j for i in rows for j in np.flatnonzero(image == i)]
        total = sum(lesions[i] for i in rows)
        means.append(np.mean(slow(scores[take].tolist(), hits[take].tolist(), len(rows), total)) if total else NAN)
    return np.nanquantile(means, (.025, .975))


@pytest.mark.parametrize('grouped', [False, True])
def test_interval_equals_sets_built_one_by_one(grouped):
    scores, hits, image, lesions = draw(4)
    groups = np.arange(len(lesions)) // 3 if grouped else None
    result = froc_interval(scores, hits, image, lesions, groups=groups, samples=50, seed=3)
    expected = slow_interval(scores, hits, image, lesions, np.arange(len(lesions)) if groups is None else groups, 50, 3)
    np.testing.assert_allclose((result.mean_low, result.mean_high), expected)
    whole = froc(scores, hits, len(lesions), lesions.sum())
    assert (result.low <= whole.sensitivity).all() and (whole.sensitivity <= result.high).all()
    assert (result.low < result.high).any() and result.grid_low.shape == result.grid.shape == (81, )


def test_interval_of_nothing():
    result = froc_interval([], [], [], [0, 0])
    assert np.isnan(result.low).all() and np.isnan(result.mean_high)
    assert np.isnan(froc_interval([], [], [], []).high).all()
    assert froc_interval([], [], [], [1, 1]).high.tolist() == [0] * 7


@pytest.mark.parametrize('seed', range(10))
def test_auroc_equals_scikit_learn(seed):
    scores, hits, image, lesions = draw(seed)
    missed = int(lesions.sum() - hits.sum())
    assert lesion_auroc(scores, hits, lesions.sum()) == pytest.approx(
        roc_auc_score(np.append(hits, np.ones(missed)), np.append(scores, [-1e9] * missed)))
    best = [max([s for s, i in zip(scores, image) if i == k], default=-1e9) for k in range(len(lesions))]
    assert image_auroc(scores, image, lesions) == pytest.approx(roc_auc_score(lesions > 0, best))


def test_auroc_by_hand():
    assert lesion_auroc([.9, .5, .7], [1, 1, 0], 2) == .5
    assert lesion_auroc([.9, .5, .7], [1, 1, 0], 4) == .25  # missed lesions lie lowest
    assert image_auroc([.9, .2, .4], [0, 0, 1], [1, 0, 0]) == 1
    assert np.isnan(lesion_auroc([.9], [1], 1)) and np.isnan(image_auroc([], [], [1, 2]))
    assert np.isnan(image_auroc([], [], []))


@pytest.mark.parametrize('call, text', [
    (lambda: froc([1], [1, 0], 1, 1), 'expected one score a detection, got 1 scores and 2 hits'),
    (lambda: froc([NAN], [1], 1, 1), 'scores must be finite, got nan'),
    (lambda: froc([1], [1], 0, 1), 'at least one image .* got 0 images'),
    (lambda: froc([1, 1], [1, 1], 1, 1), '1 lesions and 2 hits'),
    (lambda: lesion_auroc([1, 1], [1, 1], 1), 'one lesion for each hit, got 1 lesions and 2 hits'),
    (lambda: froc_interval([1], [1], [1], [1]), r'one image number a detection, in 0\.\.0'),
    (lambda: froc_interval([1], [1], [0], [1], groups=[1, 2]), 'expected 1 groups'),
    (lambda: froc_interval([1], [1], [0], [1], level=2), 'level must lie between 0 and 1'),
])
def test_errors(call, text):
    with pytest.raises(ValueError, match=text):
        call()
