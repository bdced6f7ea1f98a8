"""Average precision and the rates of decisions for many labels at once.

Labels are 1, 0 or NaN (unknown); unknown entries are left out class by class. What is undefined is NaN: a precision
where nothing was called positive, a recall without positives. "Micro" pools the entries of all classes, "macro" is the
mean of the values of the classes.

Sources: D. M. W. Powers, "Evaluation: from precision, recall and F-measure to ROC", 2011 (the rates); M. L. Zhang,
Z. H. Zhou, "A review on multi-label learning algorithms", IEEE TKDE 26(8), 2014 (Hamming loss, micro and macro).
"""
from typing import NamedTuple

import numpy as np

from cxrdet.core.classification.roc import as_columns

__all__ = ['Counts', 'Rates', 'average_precision', 'confusion', 'macro_mean', 'pooled', 'precision_recall_points',
           'rates']


class Counts(NamedTuple):
    """Entries of the confusion matrix of each class, each (C,) int64: true and false positives, then negatives."""

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
    return Rates(accuracy=_share(tp + tn, tp + fp + fn + tn), precision=_share(tp, tp + fp), recall=_share(tp, tp + fn),
                 specificity=_share(tn, tn + fp), f1=_share(2 * tp, 2 * tp + fp + fn),
                 hamming=_share(fp + fn, tp + fp + fn + tn))


def average_precision(y_true, y_score) -> np.ndarray:
    """Average precision of each class, (C,) float64 in [0, 1]; NaN where a class has no positives.

    The sum of precision times gain in recall over the distinct scores, without interpolation (as scikit-learn). For the
    micro value, pass :func:`pooled` arrays.

    Raises: ValueError as :func:`cxrdet.core.classification.roc.as_columns`.
    """
    columns = zip(*(array.T for array in as_columns(y_true, y_score)))
    return np.array([_average_precision(*precision_recall_points(*pair)[:2]) for pair in columns])


def precision_recall_points(y_true, y_score) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The precision-recall curve of one class: precision, recall and threshold, each (K,), thresholds falling.

    One point for each distinct score of a known label; recall is NaN where there are no positives.

    Raises: ValueError as :func:`cxrdet.core.classification.roc.as_columns`, or for more than one class.
    """
    true_positives, false_positives, thresholds, positives, _ = cumulated(y_true, y_score)
    return (_share(true_positives, true_positives + false_positives),
            _share(true_positives, np.full(len(thresholds), positives)), thresholds)


def cumulated(y_true, y_score) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
    """True and false positives at each distinct score, falling, as (K,) float64; the scores; numbers of either label.

    Raises: ValueError as :func:`cxrdet.core.classification.roc.as_columns`, or for more than one class.
    """
    true, score = as_columns(y_true, y_score)
    if true.shape[1] != 1:
        raise ValueError(f'expected the labels of one class, (N,), got {true.shape}')
    known = ~np.isnan(true[:, 0])
    true, score = true[known, 0], score[known, 0]
    order = np.argsort(-score, kind='stable')
    true, score = true[order], score[order]
    last = np.flatnonzero(np.append(np.diff(score) != 0, True)[:len(score)])  # the last row of each run of equal scores
    true_positives = np.cumsum(true)[last]
    return true_positives, last + 1 - true_positives, score[last], true.sum(), len(true) - true.sum()


def pooled(y_true, y_score) -> tuple[np.ndarray, np.ndarray]:
    """All entries as one class, (N * C,): what micro values are made of."""
    return tuple(array.reshape(-1) for array in as_columns(y_true, y_score))


def macro_mean(values, use=None) -> float:
    """Mean over the classes that are defined; NaN where none is.

    Args:
        values: (C,), NaN where undefined.
        use: (C,) bool, classes that count. None: all.
    """
    values = np.asarray(values, dtype=np.float64)
    kept = values[~np.isnan(values) & (True if use is None else np.asarray(use, dtype=bool))]
    return float(kept.mean()) if len(kept) else float('nan')


def _average_precision(precision: np.ndarray, recall: np.ndarray) -> float:
    return float(np.sum(np.diff(recall, prepend=0.) * precision)) if len(recall) else float('nan')


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)
