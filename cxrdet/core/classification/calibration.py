"""Do probabilities mean what they say? Expected calibration error, and the temperature that mends it.

Source: C. Guo et al., "On calibration of modern neural networks", ICML 2017 (sections 2
and 4.2), for one probability of each label instead of the confidence of the top class.
Labels are 1, 0 or NaN (unknown, left out).
"""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cxrdet.core.classification.multilabel import pooled
from cxrdet.core.classification.roc import as_column, as_columns
from cxrdet.core.rates import ratio

#: Bins of every calibration error, plot and table, as in Guo et al.
BINS = 15

_WIDEST = 100.  # temperatures lie in [1 / _WIDEST, _WIDEST]


class CalibrationBins(NamedTuple):
    """Probabilities in K bins of equal width."""

    place: np.ndarray  # (N,) int, the bin of each entry; -1 where the label is unknown
    edges: np.ndarray  # (K + 1,) from 0 to 1
    count: np.ndarray  # (K,) int, entries
    mean: np.ndarray  # (K,) mean probability; NaN in an empty bin, as is
    share: np.ndarray  # (K,) share of positives

    def error(self) -> float:
        """Expected calibration error: the mean gap between ``mean`` and ``share``, by ``count``; NaN of nothing."""
        used = self.count > 0
        return float(np.average(np.abs(self.mean - self.share)[used], weights=self.count[used])) if used.any() \
            else float('nan')


def calibration_bins(y_true, y_prob, *, bins: int = BINS) -> CalibrationBins:
    """Sort the probabilities of one class into bins of equal width, each open below and
    closed above; the first holds 0, too.

    What is printed, drawn and tabled of calibration is all made of these bins.

    Args:
        y_true: (N,) labels: 1, 0 or NaN (left out).
        y_prob: (N,) probabilities in [0, 1].
        bins: Number of bins, 1 or more.

    Raises: ValueError as :func:`cxrdet.core.classification.roc.as_column`, for
        probabilities out of range or less than one bin.
    """
    true, prob = as_column(y_true, y_prob)
    if bins < 1:
        raise ValueError(f'expected at least one bin, got {bins}')
    known = ~np.isnan(true)
    if known.any() and not 0 <= prob[known].min() <= prob[known].max() <= 1:
        raise ValueError(f'expected probabilities in [0, 1], got values from {prob[known].min()} to '
                         f'{prob[known].max()}')
    edges = np.linspace(0, 1, bins + 1)
    place = np.where(known, np.searchsorted(edges[1:-1], prob), -1)
    count = np.bincount(place[known], minlength=bins)
    mean, share = (ratio(np.bincount(place[known], weights=values[known], minlength=bins), count)
                   for values in (prob, true))
    return CalibrationBins(place, edges, count, mean, share)


def calibration_error(y_true, y_prob, *, bins: int = BINS) -> np.ndarray:
    """Expected calibration error of each class, (C,) float64 in [0, 1]; NaN for a class without known labels.

    That over all classes together is the one of
    :func:`cxrdet.core.classification.multilabel.pooled` arrays. Arguments and errors as
    for :func:`calibration_bins`, (N, C) or (N,).

    In each of the bins the gap between the mean probability and the share of positives counts by the number of
    its entries (Guo et al., section 2).

    Raises: ValueError as :func:`calibration_bins`.
    """
    return np.array([calibration_bins(*pair, bins=bins).error()
                     for pair in zip(*(array.T for array in as_columns(y_true, y_prob)))])


def to_logit(prob) -> np.ndarray:
    """Logits of probabilities, float64, cut at -17 and 17 (a float32 sigmoid reaches 0 and 1)."""
    prob = np.clip(np.asarray(prob, dtype=np.float64), 2.**-25, 1 - 2.**-25)
    return np.log(prob) - np.log1p(-prob)


def scale(prob, temperature) -> np.ndarray:
    """Probabilities after division of their logits by ``temperature``: one, or (C,).

    The order of scores stays. Probabilities are in [0, 1], of any shape.

    Raises: ValueError for a temperature that is not above 0.
    """
    if not np.all(np.asarray(temperature) > 0):
        raise ValueError(f'expected a temperature above 0, got {temperature}')
    return _sigmoid(to_logit(prob) / temperature)


def fit_temperature(y_true, logits) -> np.float64:
    """Temperature T that minimises the binary cross-entropy of sigmoid(logits / T);
    labels 1, 0 or NaN of the same shape.

    The cross-entropy is convex in 1 / T, so its slope is bisected. T lies in [0.01,
    100], and is 1 where there is nothing to go by: no known label, or all logits 0.

    Args:
        y_true: (N, C) or (N,) labels: 1, 0 or NaN.
        logits: Of the same shape.

    Returns: one number for all classes.
    Raises: ValueError as :func:`cxrdet.core.classification.roc.as_columns`.
    """
    true, value = as_column(*pooled(y_true, logits))
    known = ~np.isnan(true)
    true, value = true[known], value[known]
    if not value.any():
        return np.float64(1)
    return _bisected(lambda inverse: (value * (_sigmoid(inverse * value) - true)).sum())


def fit_softmax_temperature(y_true, logits) -> float:
    """Temperature T that minimises the cross-entropy of softmax(logits / T), for one class an image (Guo et al.).

    As :func:`fit_temperature`: convex in 1 / T, T in [0.01, 100], 1 where there is nothing to go by.

    Args:
        y_true: (N,) class ids, 0 to C - 1.
        logits: (N, C), finite; logarithms of probabilities do, for a constant in a row changes nothing.

    Raises: ValueError if the shapes do not fit or a logit is not finite.
    """
    true, value = np.asarray(y_true, np.int64), np.asarray(logits, np.float64)
    if value.ndim != 2 or true.shape != value.shape[:1] or not np.isfinite(value).all():
        raise ValueError(f'expected (N,) class ids and finite logits (N, C), got {true.shape} and {value.shape}')
    value = value - value.max(axis=1, keepdims=True, initial=-np.inf) if value.size else value
    if not value.any():
        return 1.
    own = value[np.arange(len(true)), true]

    def slope(inverse: np.float64) -> float:
        weight = np.exp(inverse * value)
        return ((weight * value).sum(axis=1) / weight.sum(axis=1) - own).sum()

    return float(_bisected(slope))


def _bisected(slope: Callable[[np.float64], float]) -> np.float64:
    """The temperature at whose inverse a rising slope is 0."""
    low, high = -np.log(_WIDEST), np.log(_WIDEST)
    for _ in range(48):  # leaves an interval of 3e-14
        middle = (low + high) / 2
        low, high = (low, middle) if slope(np.exp(middle)) > 0 else (middle, high)
    return np.exp(-(low + high) / 2)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(logits))  # never overflows
    return np.where(logits >= 0, 1, small) / (1 + small)
