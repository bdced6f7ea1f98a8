"""Rates and average precision against scikit-learn and by hand."""
import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    hamming_loss,
    precision_recall_curve,
    precision_score,
    recall_score,
)

from cxrdet.core.classification.multilabel import (
    average_precision,
    confusion,
    cumulated,
    pooled,
    rates,
)
from cxrdet.core.rates import mean_of_known

NAN = np.nan
KINDS = ['random', 'tied', 'unknown', 'all equal', 'rare']


def draw(seed: int, kind: str, n: int = 200, c: int = 6):
    rng = np.random.default_rng(seed)
    true = (rng.random((n, c)) < (0.01 if kind == 'rare' else 0.3)).astype(float)
    score = 1 / (1 + np.exp(-rng.normal(size=(n, c)) - true))
    if kind == 'tied':
        score = score.round(1)
    if kind == 'all equal':
        score[:] = 0.5
    if kind == 'unknown':
        true[rng.random((n, c)) < 0.2] = NAN
    return true, score


def by_class(function, true, score):
    known = ~np.isnan(true)
    return [function(t[k], s[k]) for t, s, k in zip(true.T, score.T, known.T)]


def specificity(true, called):
    return recall_score(1 - true, 1 - called, zero_division=NAN)


SKLEARN = {'accuracy': accuracy_score, 'hamming': hamming_loss, 'specificity': specificity,
           'precision': lambda t, p: precision_score(t, p, zero_division=NAN),
           'recall': lambda t, p: recall_score(t, p, zero_division=NAN),
           'f1': lambda t, p: f1_score(t, p, zero_division=NAN)}


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('threshold', [0.5, 0.0, 1.0, (0.1, 0.3, 0.5, 0.6, 0.7, 0.9)])
def test_rates_equal_scikit_learn(kind, threshold):
    true, score = draw(3, kind)
    called = (score >= np.array(threshold)).astype(float)
    counts = confusion(true, score, threshold)
    known = ~np.isnan(true)
    for name, function in SKLEARN.items():
        np.testing.assert_allclose(getattr(rates(counts), name), by_class(function, true, called), rtol=0, atol=1e-9)
        np.testing.assert_allclose(getattr(rates(counts.total()), name), [function(true[known], called[known])],
                                   rtol=0, atol=1e-9, err_msg=f'micro {name}')


@pytest.mark.parametrize('average', ['macro', 'micro'])
def test_averages_are_those_of_scikit_learn_over_many_labels(average):
    true, score = draw(4, 'random')
    called = (score >= 0.4).astype(float)
    counts = confusion(true, score, 0.4)
    ours = {name: mean_of_known(getattr(rates(counts), name)) if average == 'macro'
            else getattr(rates(counts.total()), name)[0] for name in SKLEARN}
    assert ours['precision'] == pytest.approx(precision_score(true, called, average=average), abs=1e-12)
    assert ours['recall'] == pytest.approx(recall_score(true, called, average=average), abs=1e-12)
    assert ours['f1'] == pytest.approx(f1_score(true, called, average=average), abs=1e-12)
    assert ours['hamming'] == pytest.approx(hamming_loss(true, called), abs=1e-12)
    assert ours['accuracy'] == pytest.approx(1 - hamming_loss(true, called), abs=1e-12)


@pytest.mark.parametrize('kind', KINDS)
def test_average_precision_equals_scikit_learn(kind):
    true, score = draw(5, kind)
    positives = (true == 1).sum(axis=0)
    expected = [average_precision_score(t[~np.isnan(t)], s[~np.isnan(t)]) if some else NAN
                for t, s, some in zip(true.T, score.T, positives)]
    np.testing.assert_allclose(average_precision(true, score), expected, rtol=0, atol=1e-9)
    flat_true, flat_score = pooled(true, score)
    known = ~np.isnan(flat_true)
    np.testing.assert_allclose(average_precision(flat_true, flat_score),
                               [average_precision_score(flat_true[known], flat_score[known])], rtol=0, atol=1e-9)


def test_counts_at_each_score_equal_scikit_learn():
    true, score = draw(6, 'tied', c=1)
    hits, alarms, thresholds, positives, negatives = cumulated(true, score)
    expected = precision_recall_curve(true[:, 0], score[:, 0])
    np.testing.assert_allclose(hits / (hits + alarms), expected[0][-2::-1], atol=1e-12)
    np.testing.assert_allclose(hits / positives, expected[1][-2::-1], atol=1e-12)
    np.testing.assert_array_equal(thresholds, expected[2][::-1])
    assert positives + negatives == len(true)


@pytest.mark.parametrize(('true', 'score', 'expected'), [
    ([1, 0, 1, 0], [4, 3, 2, 1], (1 + 2 / 3) / 2),
    ([1, 0], [5, 5], 0.5),
    ([1, 1], [2, 1], 1.0),
    ([0, 0], [2, 1], NAN),
    ([NAN, 1], [9, 1], 1.0),
    ([], [], NAN),
])
def test_average_precision_by_hand(true, score, expected):
    np.testing.assert_allclose(average_precision(true, score), [expected])


def test_counts_by_hand():
    counts = confusion([[1, 1], [1, NAN], [0, 0], [0, 0]], [[.5, .2], [.4, NAN], [.6, .1], [.1, .3]], [.5, NAN])
    assert [values.tolist() for values in counts] == [[1, 0], [1, 0], [1, 0], [1, 0]]  # NaN: no decisions
    assert [values.tolist() for values in counts.total()] == [[1], [1], [1], [1]]
    assert np.isnan([values[1] for values in rates(counts)]).all()


def test_empty_input():
    counts = confusion(np.zeros((0, 3)), np.zeros((0, 3)))
    assert [values.tolist() for values in counts] == [[0, 0, 0]] * 4
    assert np.isnan(np.array(rates(counts))).all()
    assert np.isnan(average_precision(np.zeros((0, 3)), np.zeros((0, 3)))).tolist() == [True] * 3
    assert np.isnan(mean_of_known([]))


def test_mean_of_known():
    assert mean_of_known([0.2, NAN, 0.6]) == pytest.approx(0.4)
    assert mean_of_known([0.2, NAN, 0.6], [True, True, False]) == 0.2
    assert np.isnan(mean_of_known([NAN, 1], [True, False]))


@pytest.mark.parametrize(('call', 'message'), [
    (lambda: confusion([[0, 1]], [[0, 1]], [0.5]), 'expected one threshold or 2, one a class, got shape \\(1,\\)'),
    (lambda: confusion([0, 2], [0, 1]), 'must be 1, 0 or NaN'),
    (lambda: cumulated([[0, 1]], [[0, 1]]), 'the labels of one class'),
])
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
