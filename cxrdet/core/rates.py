"""Precision, recall and F1 from counts of hits and misses."""
from typing import NamedTuple

import numpy as np


def mean_of_known(values, use: bool | np.ndarray = True) -> float:
    """Mean of the values of any shape that are not NaN, as a class without ground truth is; NaN where none is left.

    ``use``: bool of the same shape, the values that count.
    """
    values = np.asarray(values, np.float64)
    kept = values[~np.isnan(values) & use]
    return float(kept.mean()) if len(kept) else float('nan')


def ratio(part, whole) -> np.ndarray:
    """``part / whole``, of one shape; NaN where ``whole`` is not above 0."""
    whole = np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


class Counts(NamedTuple):
    """True positives, false positives and false negatives: (C,) int64 each, one entry a class."""

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray

    def total(self) -> 'Counts':
        """Sum over the classes, for micro averages."""
        return Counts(self.tp.sum(), self.fp.sum(), self.fn.sum())


class Rates(NamedTuple):
    """Precision, recall and F1, each in [0, 1], NaN where it is not defined."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


def precision_recall_f1(counts: Counts) -> Rates:
    """Precision TP/(TP+FP), recall TP/(TP+FN) and F1 = 2TP/(2TP+FP+FN) of counts of any shape.

    A ratio without a denominator is NaN, never 0; so are all three of a class that has
    no ground truth (TP + FN = 0), for its precision says nothing about the detector.
    """
    tp, fp, fn = (np.asarray(count, np.float64) for count in counts)
    there = tp + fn > 0
    return Rates(ratio(tp, there * (tp + fp)), ratio(tp, tp + fn), ratio(2 * tp, there * (2 * tp + fp + fn)))
