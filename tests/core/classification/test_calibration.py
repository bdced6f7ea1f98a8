"""Calibration error against scikit-learn's bins, temperature against scikit-learn's logistic regression."""
import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from cxrdet.core.classification.calibration import (
    calibration_error,
    fit_softmax_temperature,
    fit_temperature,
    scale,
    to_logit,
)
from cxrdet.core.classification.multilabel import pooled

NAN = np.nan


def draw(seed: int = 0, n: int = 400, c: int = 3, temperature: float = 2.0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, c)) * 3 - 1
    true = (rng.random((n, c)) < 1 / (1 + np.exp(-logits / temperature))).astype(float)
    return true, logits


def sklearn_error(true, prob, bins):
    shares, means = calibration_curve(true, prob, n_bins=bins)
    count = np.bincount(np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], prob), minlength=bins)
    return np.abs(shares - means) @ count[count > 0] / len(true)


@pytest.mark.parametrize('bins', [1, 10, 15])
@pytest.mark.parametrize('decimals', [12, 1])
def test_error_equals_scikit_learn(bins, decimals):
    true, logits = draw()
    prob = (1 / (1 + np.exp(-logits))).round(decimals)
    expected = [sklearn_error(t, p, bins) for t, p in zip(true.T, prob.T)]
    np.testing.assert_allclose(calibration_error(true, prob, bins=bins), expected, rtol=0, atol=1e-9)
    flat = pooled(true, prob)
    assert calibration_error(*flat, bins=bins)[0] == pytest.approx(sklearn_error(*flat, bins), abs=1e-9)


def test_error_by_hand():
    # two bins; below one half: probabilities .2, .4 and one positive of two: gap .2; above: .9 and a negative: gap .9
    true, prob = [[0, NAN], [1, NAN], [0, NAN]], [[.2, NAN], [.4, .3], [.9, .5]]
    np.testing.assert_allclose(calibration_error(true, prob, bins=2), [(2 * .2 + .9) / 3, NAN])
    np.testing.assert_allclose(calibration_error([1, 0], [1, 0]), [0])
    assert np.isnan(calibration_error(np.zeros((0, 2)), np.zeros((0, 2)))).tolist() == [True, True]


def test_temperature_is_the_slope_of_a_logistic_regression():
    true, logits = draw()
    for t, z in zip([*true.T, true.reshape(-1)], [*logits.T, logits.reshape(-1)]):
        found = fit_temperature(t, z)
        model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-12, max_iter=1000).fit(z[:, None], t)
        assert found == pytest.approx(1 / model.coef_[0, 0], rel=1e-5)
    assert 1.7 < fit_temperature(true, logits) < 2.3  # the one that the labels were drawn with


def test_temperature_mends_the_calibration():
    true, logits = draw(n=4000)
    prob = 1 / (1 + np.exp(-logits))
    temperature = fit_temperature(true, to_logit(prob))
    scaled = scale(prob, temperature)
    assert calibration_error(*pooled(true, scaled)) < 0.5 * calibration_error(*pooled(true, prob))
    assert log_loss(true.reshape(-1), scaled.reshape(-1)) < log_loss(true.reshape(-1), prob.reshape(-1))
    np.testing.assert_array_equal(np.argsort(scaled[:, 0]), np.argsort(prob[:, 0]))
    np.testing.assert_allclose(scale([.2, .5], 1.0), [.2, .5])


@pytest.mark.parametrize(('true', 'logits', 'expected'), [
    ([1, 0], [3, -3], 0.01),        # told apart: ever smaller
    ([0, 1], [3, -3], 100),         # the wrong way round: ever larger
    ([NAN, NAN], [3, -3], 1),
    ([1, 0], [0, 0], 1),
    ([], [], 1),
    ([1, 1, 0], [1, 1, 1], 1 / np.log(2)),  # sigmoid(1 / T) = 2 / 3
    ([1, 1, 0, NAN], [1, 1, 1, NAN], 1 / np.log(2)),
    ([1, 1, 0], [1e3, 1e3, 1e3], 100),      # 1000 / ln 2 is out of range
])
def test_temperature_by_hand(true, logits, expected):
    assert fit_temperature(true, logits) == pytest.approx(expected, rel=1e-9)


def test_extreme_probabilities_have_finite_logits():
    with np.errstate(over='raise', divide='raise', invalid='raise'):
        logits = to_logit(np.float32([0, 1e-9, 0.5, 1]))
        np.testing.assert_allclose(scale([0, 1], 0.01), [0, 1])
    np.testing.assert_allclose(logits, [-np.log(2**25 - 1), -np.log(2**25 - 1), 0, np.log(2**25 - 1)])


@pytest.mark.parametrize(('call', 'message'), [
    (lambda: calibration_error([0, 1], [0, 1.5]), r'in \[0, 1\], got values from 0.0 to 1.5'),
    (lambda: calibration_error([0, 1], [0, 1], bins=0), 'at least one bin, got 0'),
    (lambda: scale([0.5], 0), 'a temperature above 0, got 0'),
])
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_softmax_temperature_minimises_the_cross_entropy():
    rng = np.random.default_rng(0)
    logits, true = rng.normal(0, 3, (400, 5)), rng.integers(0, 5, 400)
    keep = rng.random(400) < 0.7
    true[keep] = logits[keep].argmax(axis=1)

    def entropy(temperature):
        scaled = logits / temperature
        return (np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(400), true]).mean()
    found = fit_softmax_temperature(true, logits)
    assert found == pytest.approx(min(np.linspace(0.5, 20, 19501), key=entropy), abs=1e-3)
    assert fit_softmax_temperature(true, logits + rng.normal(0, 9, (400, 1))) == pytest.approx(found)  # row constants
    assert fit_softmax_temperature(logits.argmax(axis=1), logits) == pytest.approx(0.01)
    assert fit_softmax_temperature([], np.zeros((0, 3))) == fit_softmax_temperature([1, 2], np.ones((2, 3))) == 1
    with pytest.raises(ValueError, match=r'expected \(N,\) class ids and finite logits'):
        fit_softmax_temperature([0], [[np.inf, 0]])
