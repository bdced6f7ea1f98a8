"""Areas and intervals against scikit-learn, sums by hand and simulations."""
import warnings
from statistics import NormalDist

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from cxrdet.core.classification.roc import (
    auroc,
    bootstrap_areas,
    delong_interval,
    draws_of_groups,
    midrank,
    percentile_interval,
)

NAN = np.nan


def bootstrap_interval(true, score, samples=1000, **options):
    return percentile_interval(bootstrap_areas(true, score, samples=samples, **options))


def draw(seed: int, kind: str, n: int = 300, c: int = 5):
    rng = np.random.default_rng(seed)
    true = (rng.random((n, c)) < 0.3).astype(float)
    score = rng.normal(size=(n, c)) + true
    if kind == 'tied':
        score = score.round(0)
    if kind == 'unknown':
        true[rng.random((n, c)) < 0.2] = NAN
    return true, score


@pytest.mark.parametrize('kind', ['random', 'tied', 'unknown'])
@pytest.mark.parametrize('seed', range(5))
def test_auroc_equals_scikit_learn(kind, seed):
    true, score = draw(seed, kind)
    expected = [roc_auc_score(t[~np.isnan(t)], s[~np.isnan(t)]) for t, s in zip(true.T, score.T)]
    np.testing.assert_allclose(auroc(true, score), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(('true', 'score', 'expected'), [
    ([0, 0, 1, 1], [1, 2, 3, 4], 1.0),
    ([0, 0, 1, 1], [4, 3, 2, 1], 0.0),
    ([0, 1, 0, 1], [7, 7, 7, 7], 0.5),
    ([0, 1, 0, 1], [1, 2, 2, 3], 3.5 / 4),  # of the four pairs three are right and one is tied
    ([1, 1, 1], [1, 2, 3], NAN),
    ([0, 0, NAN], [1, 2, NAN], NAN),
    ([], [], NAN),
])
def test_auroc_by_hand(true, score, expected):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        np.testing.assert_array_equal(auroc(true, score), [expected])


def test_empty_input_keeps_its_classes():
    for result in (auroc(np.zeros((0, 3)), np.zeros((0, 3))), *delong_interval(np.zeros((0, 3)), np.zeros((0, 3))),
                   *bootstrap_interval(np.zeros((0, 3)), np.zeros((0, 3)))):
        np.testing.assert_array_equal(result, [NAN] * 3)


def test_midrank():
    np.testing.assert_array_equal(midrank(np.array([3., 1., 3., 2.])), [3.5, 1, 3.5, 2])


def test_delong_by_hand():
    # positives 2, 3; negatives 1, 2. Share of negatives below each positive: 3/4, 1; of positives above each
    # negative: 1, 3/4. Both variances are 1/32, hence the standard error sqrt(1/64 + 1/64) = 0.17678 around 7/8,
    # on the logit scale sqrt(1/32) / (7/8 x 1/8) around ln 7.
    true, score = [0, 1, 0, 1], [1, 2, 2, 3]
    low, high = delong_interval(true, score)
    assert logit(low[0]) == pytest.approx(np.log(7) - 1.95996398 * np.sqrt(1 / 32) * 64 / 7)
    assert logit(high[0]) == pytest.approx(np.log(7) + 1.95996398 * np.sqrt(1 / 32) * 64 / 7)
    turned = delong_interval(true, -np.array(score))
    np.testing.assert_allclose([1 - turned[1], 1 - turned[0]], [low, high])
    np.testing.assert_array_equal(delong_interval([0, 0, 1], [1, 2, 3]), [[NAN], [NAN]])  # one positive: no variance
    low, high = delong_interval([0, 1, 0, 1], [7, 7, 7, 7])
    assert low[0] == high[0] == expit(0)


@pytest.mark.parametrize(('positives', 'negatives'), [(2, 9), (10, 140), (40, 12)])
def test_bound_of_a_perfect_area(positives, negatives):
    """As many disjoint pairs as the rarer kind has films were all in order: Clopper-Pearson's one-sided bound."""
    true, score = np.repeat([1., 0.], [positives, negatives]), np.arange(positives + negatives, 0., -1)
    pairs = min(positives, negatives)
    bound = binomtest(pairs, pairs, alternative='greater').proportion_ci(0.95, 'exact').low
    np.testing.assert_allclose(delong_interval(true, score), [[bound], [1]])
    np.testing.assert_allclose(delong_interval(true, -score), [[0], [1 - bound]], atol=1e-15)


@pytest.mark.parametrize(('positives', 'negatives', 'area', 'share'), [
    (10, 140, 0.95, 0.88), (15, 140, 0.90, 0.91), (30, 140, 0.90, 0.94), (60, 120, 0.76, 0.96)])
def test_share_that_holds_the_truth_with_few_positives(positives, negatives, area, share):
    """What the docstring says, of 1000 draws: a standard deviation of the share is about 1 %."""
    rng = np.random.default_rng(5)
    true = np.repeat([1., 0.], [positives, negatives])[:, None].repeat(1000, axis=1)
    score = rng.normal(size=true.shape) + true * np.sqrt(2) * NormalDist().inv_cdf(area)
    low, high = delong_interval(true, score)
    assert np.mean((low <= area) & (area <= high)) == pytest.approx(share, abs=0.03)


def test_intervals_hold_the_truth_at_their_rate():
    rng = np.random.default_rng(7)
    true = np.repeat([1., 0.], [60, 120])[:, None].repeat(800, axis=1)
    score = rng.normal(size=true.shape) + true  # area of two normals one deviation apart: Phi(1 / sqrt 2) = 0.76025
    low, high = delong_interval(true, score)
    assert 0.93 < np.mean((low <= 0.76025) & (high >= 0.76025)) < 0.97
    low, high = bootstrap_interval(true[:, :200], score[:, :200], samples=300)
    assert 0.90 < np.mean((low <= 0.76025) & (high >= 0.76025)) < 0.985


def test_bootstrap_keeps_patients_together():
    true, score = draw(1, 'random', n=200, c=1)
    patient = np.repeat(np.arange(200), 4)
    single = np.subtract(*bootstrap_interval(true, score)[::-1])
    copies = np.repeat(true, 4, axis=0), np.repeat(score, 4, axis=0)
    grouped = np.subtract(*bootstrap_interval(*copies, groups=patient)[::-1])
    np.testing.assert_allclose(grouped, single, atol=1e-12)  # four equal films of a patient are one witness
    assert np.subtract(*bootstrap_interval(*copies)[::-1])[0] == pytest.approx(single[0] / 2, rel=0.15)


@pytest.mark.parametrize('kind', ['random', 'tied', 'unknown'])
def test_areas_of_draws_are_those_of_repeated_rows(kind):
    true, score = draw(2, kind, n=60, c=3)
    patient = np.arange(60) // 3
    drawn = np.concatenate(list(draws_of_groups(60, groups=patient, samples=60)), axis=1).T
    assert drawn.shape == (60, 60) and (drawn.sum(axis=1) == 60).all() and drawn.std() > 0.5
    assert (drawn[:, ::3] == drawn[:, 1::3]).all() and (drawn[:, ::3] == drawn[:, 2::3]).all()
    expected = [auroc(np.repeat(true, times, axis=0), np.repeat(score, times, axis=0)) for times in drawn]
    np.testing.assert_allclose(bootstrap_areas(true, score, groups=patient, samples=60), expected, rtol=0, atol=1e-12)


def test_percentiles_by_hand():
    low, high = percentile_interval(np.array([[1., NAN, 5], [2, NAN, NAN], [3, NAN, 5]]), level=0.5)
    np.testing.assert_array_equal([low, high], [[1.5, NAN, 5], [2.5, NAN, 5]])
    assert percentile_interval([1., 2, 3, NAN], level=0.5) == (1.5, 2.5)
    assert np.isnan(percentile_interval(np.zeros((0, 2)))).all()


def test_interval_of_the_mean_over_classes_holds_the_truth():
    """Classes that share patients, 40 of them with three films each: resampled together, judged together."""
    rng, held, truth = np.random.default_rng(11), [], 0.76025
    for _ in range(100):
        true = np.repeat(rng.random((40, 3)) < 0.4, 3, axis=0).astype(float)
        own = np.repeat(rng.normal(size=(40, 3)), 3, axis=0)
        score = true + (own + 0.5 * rng.normal(size=own.shape)) / np.sqrt(1.25)
        areas = bootstrap_areas(true, score, groups=np.repeat(np.arange(40), 3), samples=100)
        low, high = percentile_interval(areas.mean(axis=1))
        held.append(low <= truth <= high)
    assert 0.88 < np.mean(held) < 0.99


def cost(calls, function, n, **options):
    true, score = draw(0, 'random', n=n, c=14)
    return calls(function, true, score, **options)


def test_bootstrap_makes_no_call_a_film(calls):
    small, large = (cost(calls, bootstrap_areas, n, groups=np.arange(n) // 3, samples=50) for n in (300, 3000))
    assert large < 1.2 * small


def test_bootstrap_leaves_out_draws_without_positives():
    low, high = bootstrap_interval([1, 0, 0], [3, 2, 1], samples=200)
    assert (low[0], high[0]) == (1, 1)


@pytest.mark.parametrize('function', [auroc, delong_interval])
def test_areas_make_no_call_a_film(function, calls):
    assert cost(calls, function, 3000) < 1.2 * cost(calls, function, 300)


@pytest.mark.parametrize(('call', 'message'), [
    (lambda: auroc([0, 1], [1]), r'one shape, \(N,\) or \(N, C\), got \(2,\) and \(1,\)'),
    (lambda: auroc([0, 2], [1, 1]), 'must be 1, 0 or NaN .* got 2.0 in row 1, column 0'),
    (lambda: auroc([[0, 1]], [[1, NAN]]), 'must be finite, got nan in row 0, column 1'),
    (lambda: percentile_interval([1.], level=95), 'between 0 and 1, got 95'),
    (lambda: bootstrap_areas([0, 1], [1, 1], groups=[1]), 'expected 2 groups'),
])
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
