"""Confusion matrix of a single-label classifier, and what follows from it.

Sources: M. Sokolova, G. Lapalme, "A systematic analysis of performance measures for
classification tasks", Information Processing & Management 45(4), 2009; balanced
accuracy: K. H. Brodersen et al., "The balanced accuracy and its posterior
distribution", ICPR 2010 (the mean of the recalls of all classes).
"""
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cxrdet.core.rates import Counts, mean_of_known, precision_recall_f1


class ClassReport(NamedTuple):
    """Per class, each (C,): ``precision``, ``recall``, ``f1`` in [0, 1] float64, ``support`` int64; and their sums.

    NaN where a value is not defined: all three of a class without images, and the
    precision of a class that was never predicted (its recall and F1 are 0). The means,
    of recall and of F1, leave NaN out; they are NaN if there is no image at all.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray
    accuracy: float
    balanced_accuracy: float
    macro_f1: float


def confusion_matrix(y_true, y_pred, num_classes: int) -> np.ndarray:
    """Count images by true class (rows) and predicted class (columns), (C, C) int64.

    ``y_true`` and ``y_pred`` are (N,) class ids, whole numbers from 0 to ``num_classes - 1``.

    Raises: ValueError if shapes differ, an id is no whole number or out of range, or ``num_classes`` is below 1.
    """
    if num_classes < 1:
        raise ValueError(f'num_classes must be 1 or more, got {num_classes}')
    ids = []
    for name, values in (('y_true', y_true), ('y_pred', y_pred)):
        array = np.asarray(values)
        if array.ndim != 1 or (array.size and array.dtype.kind not in 'iu'):
            raise ValueError(f'{name}: expected (N,) whole numbers, got {array.dtype} of shape {array.shape}')
        if array.size and not (0 <= array.min() and array.max() < num_classes):
            raise ValueError(f'{name}: class ids must lie in 0..{num_classes - 1}, got {array.min()}..{array.max()}')
        ids.append(array.astype(np.int64))
    if len(ids[0]) != len(ids[1]):
        raise ValueError(f'expected one prediction for each of {len(ids[0])} labels, got {len(ids[1])}')
    cells = np.bincount(ids[0] * num_classes + ids[1], minlength=num_classes ** 2)
    return cells.reshape(num_classes, num_classes)


def class_report(matrix) -> ClassReport:
    """Rates of each class and their means from a confusion matrix, (C, C) with the true
    classes in the rows.

    Raises: ValueError if it is not square or holds a negative count.
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or (matrix < 0).any():
        raise ValueError(f'expected a square matrix of counts, got shape {matrix.shape}')
    hits, support = matrix.diagonal(), matrix.sum(axis=1)
    rates = precision_recall_f1(Counts(hits, matrix.sum(axis=0) - hits, support - hits))
    total = matrix.sum()
    accuracy = float(hits.sum() / total) if total else float('nan')
    return ClassReport(*rates, support, accuracy, mean_of_known(rates.recall), mean_of_known(rates.f1))


def frequent_confusions(matrix, classes: Sequence[str], *, most: int = 10) -> list[dict[str, Any]]:
    """The most frequent errors, the most frequent first: ``true``, ``predicted``,
    ``count`` and ``share`` of the row of the true class.

    Args:
        matrix: (C, C) counts, or more: what lies behind the classes (as the background of a detector) is no confusion.
        classes: C names.
        most: how many at most; pairs that never occur are left out.
    """
    matrix, number = np.asarray(matrix), len(classes)
    wrong = matrix[:number, :number] * ~np.eye(number, dtype=bool)
    cells = [divmod(int(cell), number) for cell in np.argsort(-wrong, axis=None, kind='stable')[:most]]
    return [{'true': classes[i], 'predicted': classes[j], 'count': int(wrong[i, j]),
             'share': float(wrong[i, j] / matrix[i].sum())} for i, j in cells if wrong[i, j]]
