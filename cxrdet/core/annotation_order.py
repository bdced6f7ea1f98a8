"""Which unlabelled images to annotate next: those the model is least certain about, weak classes weighted up.

Uncertainty: entropy or margin of the predicted probabilities (B. Settles,
"Active Learning Literature Survey", University of Wisconsin-Madison, 2009,
section 3.1); of a detector the sum over its detections (C.-A. Brust, C. Käding,
J. Denzler, "Active learning for deep object detection", VISAPP 2019). The
weights of weak classes are own work.
"""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MEASURES = ('entropy', 'margin')


class Priorities(NamedTuple):
    """For N images, (N,) each: the sort key, the uncertainty in it, and the index of the class that contributes most
    (-1 if nothing is found).
    """

    priority: np.ndarray
    uncertainty: np.ndarray
    label: np.ndarray


def class_weakness(scores, *, chance: float = 0.) -> np.ndarray:
    """(C,) float64 in 0..1: 1 - score; 1 for a class whose score is not known (None or NaN).

    Args:
        scores: (C,) on validation images, 1 for a perfect one.
        chance: the score of a useless model; scores are taken as (score - chance) / (1 - chance).
    """
    scores = np.array([np.nan if score is None else score for score in scores], np.float64)
    return np.clip(np.nan_to_num(1 - (scores - chance) / (1 - chance), nan=1.), 0, 1)


def _binary(prob, measure: str) -> np.ndarray:
    """Uncertainty, 0..1, of a yes-or-no probability: entropy in bits, or 1 - the margin."""
    prob = np.clip(np.asarray(prob, np.float64), 0, 1)
    if measure == 'margin':
        return 1 - np.abs(2 * prob - 1)
    return _bits(prob) + _bits(1 - prob)


def _bits(prob: np.ndarray) -> np.ndarray:
    return -prob * np.log2(np.where(prob > 0, prob, 1))


def single_label_priorities(prob, weakness, *, measure: str = 'entropy') -> Priorities:
    """For single-label classifiers: u (1 + sum_c p_c weakness_c).

    u is the entropy of p over that of equal probabilities, or 1 - (p_1 - p_2), the margin between the best two; 0..1.

    Args:
        prob: (N, C) probabilities that sum to 1.
        weakness: (C,) of :func:`class_weakness`.
        measure: One of :data:`MEASURES`.
    """
    prob = _matrix(prob, weakness, measure)
    if measure == 'margin' and prob.shape[1] > 1:
        best = np.sort(prob, axis=1)
        uncertainty = 1 - (best[:, -1] - best[:, -2])
    else:
        uncertainty = _bits(np.clip(prob, 0, 1)).sum(axis=1) / np.log2(max(prob.shape[1], 2))
    return Priorities(uncertainty * (1 + prob @ np.asarray(weakness, np.float64)), uncertainty, prob.argmax(axis=1))


def multi_label_priorities(prob, weakness, *, measure: str = 'entropy') -> Priorities:
    """For multi-label classifiers: the mean over the classes of u_c (1 + weakness_c), u_c of p_c against 1 - p_c;
    arguments as for :func:`single_label_priorities`, but rows need not sum to 1.
    """
    prob = _matrix(prob, weakness, measure)
    parts = _binary(prob, measure)
    weighted = parts * (1 + np.asarray(weakness, np.float64))
    return Priorities(weighted.mean(axis=1), parts.mean(axis=1), weighted.argmax(axis=1))


def detection_priorities(scores: Sequence, labels: Sequence, weakness, *, measure: str = 'entropy') -> Priorities:
    """For detectors: the sum over the detections of an image of u (1 + weakness of its class), u of its score.

    Args:
        scores, labels: N arrays (K,), scores in 0..1 and classes of the detections of an image.
        weakness, measure: as for :func:`single_label_priorities`.
    """
    weakness = np.asarray(weakness, np.float64)
    _check(measure)
    priority, uncertainty, label = np.zeros(len(scores)), np.zeros(len(scores)), np.full(len(scores), -1)
    for image, (mine, classes) in enumerate(zip(scores, labels, strict=True)):
        classes = np.asarray(classes, np.int64).reshape(-1)
        parts = _binary(np.asarray(mine, np.float64).reshape(-1), measure)
        weighted = np.bincount(classes, parts * (1 + weakness[classes]), minlength=len(weakness))
        priority[image], uncertainty[image] = weighted.sum(), parts.sum()
        there = np.unique(classes)
        label[image] = there[weighted[there].argmax()] if len(there) else -1
    return Priorities(priority, uncertainty, label)


def ranking(priority) -> np.ndarray:
    """Indices of the images, the one to annotate first in front; ties keep their order."""
    return np.argsort(-np.asarray(priority, np.float64), kind='stable')


def _matrix(prob, weakness, measure: str) -> np.ndarray:
    _check(measure)
    prob = np.asarray(prob, np.float64)
    if prob.ndim != 2 or prob.shape[1] != len(weakness):
        raise ValueError(f'expected probabilities (N, {len(weakness)}), got {prob.shape}')
    return prob


def _check(measure: str) -> None:
    if measure not in MEASURES:
        raise ValueError(f'the measure must be one of {", ".join(MEASURES)}, got "{measure}"')
