"""How often each class occurs, and the weights that follow: of films to be drawn, and of classes in a loss.

Labels are (N, C) of 1, 0 or NaN (unknown); an unknown label counts neither as positive nor as negative. Errors are
those of :func:`as_labels`, and ConfigError for an option out of range.
"""
from collections.abc import Sequence
from typing import Any

import numpy as np

from cxrdet.core.errors import check_numbers

#: What NIH ChestX-ray14 calls a film on which nothing was found; where it is a class, it is none of the findings.
NO_FINDING = 'No Finding'


def are_findings(classes: Sequence[str]) -> np.ndarray | None:
    """Which of the classes are findings, (C,) bool: all but "No Finding"; ``None`` where they all are.

    The literature on NIH ChestX-ray14 gives the mean AUROC over its 14 findings (Wang et al., CVPR 2017; CheXNet).
    """
    findings = np.array([name != NO_FINDING for name in classes], bool)
    return None if findings.all() else findings


def as_labels(labels) -> np.ndarray:
    """Labels as (N, C) float64; ValueError if they have another shape or hold anything but 1, 0 and NaN."""
    labels = np.asarray(labels, dtype=np.float64)
    if labels.ndim != 2:
        raise ValueError(f'expected labels of shape (N, C), got {labels.shape}')
    bad = np.argwhere(~(np.isnan(labels) | (labels == 0) | (labels == 1)))
    if len(bad):
        row, column = bad[0].tolist()
        raise ValueError(f'labels must be 1, 0 or NaN (unknown), got {labels[row, column]} in row {row}, '
                         f'column {column}')
    return labels


def label_count_weights(labels, offset: float = 0.04) -> np.ndarray:
    """Weight of each film to be drawn: number of its positive labels + ``offset``, 0 or more; (N,) float64.

    Source: own project, a classifier of NIH ChestX-ray14 (offset 0.04).

    Args:
        labels: (N, C) of 1, 0 or NaN.
        offset: Weight of a film without any positive label, 0 or more.

    Raises: ValueError as :func:`as_labels`; ConfigError if ``offset`` is below 0.
    """
    check_numbers('label_count_weights', offset=(offset, '[0, inf)'))
    return (as_labels(labels) == 1).sum(axis=1) + float(offset)


def class_balanced_weights(labels, power: float = 1.0) -> np.ndarray:
    """Weight of each film to be drawn such that classes are drawn evenly; (N,) float64
    of sum 1, all 0 if no label is known.

    Drawing by these weights is the same as drawing a class and then one of its n
    films, each equally likely, where the probability of a class goes with n^(1 -
    power). Films without any positive label are one more class; one of which no
    label is known is never drawn. The share of films that show a class is larger
    than its probability, since films of other classes show it too.

    Args:
        labels: (N, C) of 1, 0 or NaN.
        power: 1: all classes equally likely; 0: by their numbers of films; 0.5 (square root) lies between.

    Raises: ValueError as :func:`as_labels`; ConfigError if ``power`` is not within 0 and 1.
    """
    check_numbers('class_balanced_weights', power=(power, '[0, 1]'))
    labels = as_labels(labels)
    positive, unknown = labels == 1, np.isnan(labels).all(axis=1) & (labels.shape[1] > 0)
    positive = np.column_stack([positive, ~positive.any(axis=1) & ~unknown]).astype(np.float64)
    counts = positive.sum(axis=0)
    weights = positive @ np.where(counts > 0, np.maximum(counts, 1) ** -power, 0)
    return weights / weights.sum() if weights.any() else weights


def positive_weights(labels, *, cap: float | None = None) -> np.ndarray:
    """Weight of the positive part of each class's loss: number of negatives / number of positives; (C,) float64.

    A class that lacks positives or negatives has the weight 1. ``labels``: (N, C) of 1,
    0 or NaN, of the training split only; ``cap``: upper limit, above 0, for a class of
    few films would otherwise weigh hundreds.

    Without ``cap`` there is no limit. It is what torch's ``BCEWithLogitsLoss(pos_weight=...)`` takes.

    Raises: ValueError as :func:`as_labels`; ConfigError if ``cap`` is not above 0.
    """
    if cap is not None:
        check_numbers('positive_weights', cap=(cap, '(0, inf]'))
    labels = as_labels(labels)
    positives, negatives = (labels == 1).sum(axis=0), (labels == 0).sum(axis=0)
    weights = np.where((positives > 0) & (negatives > 0), negatives / np.maximum(positives, 1), 1.0)
    return weights if cap is None else np.minimum(weights, cap)


def imbalance(classes: Sequence[str], counts) -> dict[str, Any]:
    """Numbers of the classes of a training set: ``largest``, ``smallest`` (of those
    that occur), their ``ratio`` and ``absent``, the names of those that do not.
    ``classes``: C names;
    ``counts``: (C,) boxes, or positive images, of each.
    """
    counts = np.asarray(counts, np.int64)
    there = np.flatnonzero(counts)
    absent = [name for name, count in zip(classes, counts) if not count]
    if not len(there):
        return {'largest': None, 'smallest': None, 'ratio': None, 'absent': absent}
    most, least = there[counts[there].argmax()], there[counts[there].argmin()]
    return {'largest': {'class': classes[most], 'count': int(counts[most])},
            'smallest': {'class': classes[least], 'count': int(counts[least])},
            'ratio': float(counts[most] / counts[least]), 'absent': absent}
