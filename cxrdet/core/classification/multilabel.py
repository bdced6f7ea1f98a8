"""Average precision and the rates of decisions for many labels at once.

Labels are 1, 0 or NaN (unknown); unknown entries are left out class by class. What is
undefined is NaN: a precision where nothing was called positive, a recall without
positives. "Micro" pools the entries of all classes, "macro" is the mean of the values
of the classes. Errors are those of :func:`cxrdet.core.classification.roc.as_columns`.

Sources: D. M. W. Powers, "Evaluation: from precision, recall and F-measure to ROC",
2011 (the rates); M. L. Zhang, Z. H. Zhou, "A review on multi-label learning
algorithms", IEEE TKDE 26(8), 2014 (Hamming loss, micro and macro).
"""
from typing import NamedTuple

import numpy as np

from cxrdet.core.classification.roc import as_column, as_columns, last_of_ties
from cxrdet.core.rates import ratio


class Counts(NamedTuple):
    """Entries of the confusion matrix of each class, each (C,) int64."""

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    tn: np.ndarray

    def total(self) -> 'Counts':
        """All classes added up, each (1,): what micro rates are made of."""
        return Counts(*(values.sum(keepdims=True) for values in self))


class Rates(NamedTuple):
    """Rates of each class, each (C,) float64 in [0, 1] or NaN where undefined.

    The Hamming loss is the share of wrong decisions; over several classes, macro and micro, it is the usual one.
    """

    accuracy: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    specificity: np.ndarray
    f1: np.ndarray
    hamming: np.ndarray


def confusion(y_true, y_score, thresholds=0.5) -> Counts:
    """Count right and wrong decisions of each class; a score of at least the threshold is a positive decision.

    Args:
        y_true: (N, C) or (N,) labels: 1, 0 or NaN for unknown.
        y_score: Scores of the same shape.
        thresholds: One for all classes or (C,). A class whose threshold is NaN gets no decisions: its counts are 0.

    Raises: ValueError as :func:`cxrdet.core.classification.roc.as_columns`, or if the thresholds are neither one nor C.
    """
    true, score = as_columns(y_true, y_score)
    bounds = np.asarray(thresholds, dtype=np.float64)
    if bounds.shape not in ((), (true.shape[1],)):
        raise ValueError(f'expected one threshold or {true.shape[1]}, one a class, got shape {bounds.shape}')
    with np.errstate(invalid='ignore'):  # the score of an unknown label may be NaN
        called = score >= bounds
    decided = ~np.isnan(np.broadcast_to(bounds, true.shape))
    positive, negative = (true == 1) & decided, (true == 0) & decided
    return Counts(*((mask & call).sum(axis=0) for mask, call in
                    ((positive, called), (negative, called), (positive, ~called), (negative, ~called))))


def rates(counts: Counts) -> Rates:
    """Rates of each class, as scikit-learn's but NaN for 0/0; those of ``counts.total()`` are the micro ones."""
    tp, fp, fn, tn = (np.asarray(values, dtype=np.float64) for values in counts)
    return Rates(accuracy=ratio(tp + tn, tp + fp + fn + tn), precision=ratio(tp, tp + fp), recall=ratio(tp, tp + fn),
                 specificity=ratio(tn, tn + fp), f1=ratio(2 * tp, 2 * tp + fp + fn),
                 hamming=ratio(fp + fn, tp + fp + fn + tn))


def average_precision(y_true, y_score) -> np.ndarray:
    """Average precision of each class, (C,) float64 in [0, 1]; NaN where a class has no positives.

    The sum of precision times gain in recall over the distinct scores, without
    interpolation (as scikit-learn). The micro value is that of :func:`pooled` arrays.

    Args:
        y_true: (N, C) or (N,) labels: 1, 0 or NaN (left out).
        y_score: Scores of the same shape, any range.

    Raises: ValueError as :func:`cxrdet.core.classification.roc.as_columns`.
    """
    values = []
    for pair in zip(*(array.T for array in as_columns(y_true, y_score))):
        hits, alarms, _, positives, _ = cumulated(*pair)
        recall = hits / positives if positives else np.full(len(hits), np.nan)
        values.append(np.sum(np.diff(recall, prepend=0.) * hits / (hits + alarms)) if len(hits) else np.nan)
    return np.array(values)


def cumulated(y_true, y_score) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
    """True and false positives at each distinct score of one class, falling, as (K,)
    float64; the scores; numbers of either label. Errors as
    :func:`cxrdet.core.classification.roc.as_column`.
    """
    true, score = as_column(y_true, y_score)
    known = np.flatnonzero(~np.isnan(true))
    order = known[np.argsort(-score[known], kind='stable')]
    true, score = true[order], score[order]
    last = last_of_ties(score)
    true_positives = np.cumsum(true)[last]
    return true_positives, last + 1 - true_positives, score[last], true.sum(), len(true) - true.sum()


def pooled(y_true, y_score) -> tuple[np.ndarray, np.ndarray]:
    """All entries as one class, (N * C,): what micro values are made of."""
    true, score = as_columns(y_true, y_score)
    return true.reshape(-1), score.reshape(-1)
