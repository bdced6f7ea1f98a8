"""Curves against scikit-learn, thresholds against trying all of them."""
import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score, roc_curve

from cxrdet.core.bootstrap import draws_of_groups
from cxrdet.core.classification.thresholds import choose_thresholds, parse_rule, roc_band, roc_points

NAN = np.nan


def draw(seed: int, decimals: int = 9, n: int = 50):
    rng = np.random.default_rng(seed)
    true = (rng.random(n) < 0.4).astype(float)
    return true, (1 / (1 + np.exp(-rng.normal(size=n) - true))).round(decimals)


@pytest.mark.parametrize('decimals', [9, 1])
def test_roc_points_equal_scikit_learn(decimals):
    true, score = draw(0, decimals)
    for ours, expected in zip(roc_points(true, score), roc_curve(true, score, drop_intermediate=False)):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-9)
    unknown = np.append(true, NAN), np.append(score, 0.1234)
    np.testing.assert_array_equal(roc_points(*unknown), roc_points(true, score))


@pytest.mark.parametrize('decimals', [9, 1])
@pytest.mark.parametrize('seed', range(2))
def test_thresholds_equal_trying_all(seed, decimals):
    true, score = draw(seed, decimals)
    candidates = np.unique(score)[::-1]
    called = [(score >= threshold).astype(float) for threshold in candidates]
    recall, specificity, f1 = np.array([(recall_score(true, p), recall_score(1 - true, 1 - p), f1_score(true, p))
                                        for p in called]).T
    at = {rule: int(np.flatnonzero(candidates == choose_thresholds(true, score, rule)[0])[0])
          for rule in ('youden', 'F1', 'sensitivity>=0.8')}
    assert (recall + specificity)[at['youden']] == pytest.approx((recall + specificity).max(), abs=1e-12)
    assert f1[at['F1']] == pytest.approx(f1.max(), abs=1e-12)
    assert at['sensitivity>=0.8'] == np.flatnonzero(recall >= 0.8)[0]
    assert specificity[at['sensitivity>=0.8']] == specificity[recall >= 0.8].max()


def test_thresholds_by_hand():
    true, score = np.array([[1, 1], [0, 1], [1, NAN], [0, 1.]]), np.array([[.9, .9], [.6, .5], [.5, .4], [.1, .2]])
    # youden: at .9 sensitivity 1/2, specificity 1; at .5 sensitivity 1, specificity 1/2: the higher threshold is taken
    np.testing.assert_array_equal(choose_thresholds(true, score, 'youden'), [.9, NAN])  # no negatives in the second
    np.testing.assert_array_equal(choose_thresholds(true, score, 'F1'), [.5, NAN])  # 2 * 2 / (2 * 2 + 1)
    np.testing.assert_array_equal(choose_thresholds(true, score, 'sensitivity>=0.5'), [.9, NAN])
    np.testing.assert_array_equal(choose_thresholds(true, score, 'sensitivity >= 1.0'), [.5, NAN])
    assert np.isnan(choose_thresholds(np.zeros((0, 2)), np.zeros((0, 2)), 'F1')).tolist() == [True, True]


def test_sensitivity_is_met_in_spite_of_rounding():
    true, score = np.ones(11), np.arange(11) / 10
    true[0] = 0
    assert choose_thresholds(true, score, 'sensitivity>=0.7')[0] == 0.4  # exactly seven of ten


def test_band_is_that_of_resampled_curves():
    true, score = draw(1, 1)
    groups, curves = np.arange(len(true)) // 2, []
    at, low, high = roc_band(true, score, groups=groups, samples=60)
    for times in np.concatenate(list(draws_of_groups(len(true), groups=groups, samples=60)), axis=1).T:
        false_rate, true_rate, _ = roc_curve(np.repeat(true, times), np.repeat(score, times), drop_intermediate=False)
        upper = np.append(np.diff(false_rate) > 0, True)
        curves.append(np.interp(at, false_rate[upper], true_rate[upper]))
    expected = np.quantile(curves, (0.025, 0.975), axis=0)
    np.testing.assert_allclose([low, high], expected, rtol=0, atol=1e-9)
    assert (low < high).any() and (low[-1], high[-1]) == (1, 1)


def test_band_of_tied_scores_and_of_nothing():
    _, low, high = roc_band([1, 0, 1, 0], [.5, .5, .5, .5])
    low, high = low[::50], high[::50]
    np.testing.assert_allclose([low, high], [[0, .5, 1]] * 2)
    assert np.isnan(roc_band([], [])[1]).all() and np.isnan(roc_band([1, 1], [0, 1])[1]).all()


@pytest.mark.parametrize(('rule', 'expected'), [('youden', ('youden', None)), ('F1', ('F1', None)),
                                                ('sensitivity>=0.95', ('sensitivity', 0.95)),
                                                ('sensitivity >= 1', ('sensitivity', 1.0))])
def test_rules(rule, expected):
    assert parse_rule(rule) == expected


@pytest.mark.parametrize('rule', ['f-score', 'sensitivity>=0', 'sensitivity>=1.5', 'sensitivity>0.9', '', '0.3'])
def test_unknown_rules(rule):
    with pytest.raises(ValueError, match=f'youden, F1 or sensitivity>=S with S in .* got "{rule}"'):
        choose_thresholds([0, 1], [0, 1], rule)


def test_errors():
    with pytest.raises(ValueError, match='labels of one class'):
        roc_band([[0, 1]], [[0, 1]])
    with pytest.raises(ValueError, match='expected 2 groups'):
        roc_band([0, 1], [0, 1], groups=[1])
