"""Precision-recall and calibration curves with bootstrap bands, and intervals of average precision.

Sources: B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993
(percentile intervals over resampled images or patients); T.-Y. Lin et al.,
"Microsoft COCO: Common Objects in Context", ECCV 2014 (average precision); M. H.
DeGroot, S. E. Fienberg, "The comparison and evaluation of forecasters", The
Statistician 32, 1983 (reliability diagram).
"""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cxrdet.core.bootstrap import draws_of_groups, percentile_interval
from cxrdet.core.classification.calibration import BINS, calibration_bins
from cxrdet.core.classification.roc import last_of_ties
from cxrdet.core.detection.average_precision import score_columns
from cxrdet.core.detection.matching import LesionTable
from cxrdet.core.rates import ratio

_RECALLS = np.linspace(0, 1, 101)


class CalibrationCurve(NamedTuple):
    """Bins of equal width that hold at least one entry, (K,) each."""

    mean: np.ndarray  # mean probability, rising
    share: np.ndarray  # of positives, in [0, 1]
    count: np.ndarray  # entries
    low: np.ndarray  # ends of the 95 % bootstrap interval of the share
    high: np.ndarray


def pr_curve(scores, is_hit, n_targets: int) -> tuple[np.ndarray, np.ndarray]:
    """Recall (rising) and precision at each distinct score, (K,) each; recall is NaN without targets.

    Args:
        scores: (N,) of any range, one entry a detection (or an image, for a classifier).
        is_hit: (N,) bool, whether it took a target, one to one (or is a positive).
        n_targets: targets of the set, found or not.

    Raises: ValueError for differing lengths.
    """
    scores, hit = score_columns(scores, is_hit)
    order = np.argsort(-scores, kind='stable')
    last = last_of_ties(scores[order])
    found = np.cumsum(hit[order])[last]
    return found / n_targets if n_targets else np.full(len(last), np.nan), found / (last + 1)


def pr_band(scores, is_hit, image, targets, *, groups=None,
            samples: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pointwise 95 % bootstrap band of :func:`pr_curve`: recalls 0 to 1, lower and
    upper ends of precision, (101,) each.

    The precision at a recall is that of the highest threshold that reaches it, and 0 where none does, as COCO has it.

    Args:
        scores, is_hit: (N,) as for :func:`pr_curve`.
        image: (N,) int, number of the image of each entry, 0 to I - 1.
        targets: (I,) targets of each image.
        groups: (I,) group of each image, for example patient ids. None: each image for itself.
        samples: draws, of which those without any target are left out.

    Raises: ValueError for differing lengths, or groups that do not fit.
    """
    return _RECALLS, *percentile_interval(np.concatenate([np.zeros((0, 101)), *_resampled(
        scores, is_hit, image, targets, groups, samples, 0, envelope=False)]))


def bootstrap_average_precision(tables: Sequence[LesionTable], *, groups=None, samples: int = 200,
                                seed: int = 0) -> np.ndarray:
    """COCO's average precision of resampled images, (samples, T, C); NaN where a draw has no box of a class.

    Draws are the same for all tables and classes, so that means over them, draw by draw, give the interval of mAP.

    Args:
        tables: T matchings of one set, e.g. at IoU 0.5, 0.55 … 0.95.
        groups: as for :func:`pr_band`.
        samples, seed: number of draws, their seed.

    Raises: ValueError as :func:`pr_band`.
    """
    out = []
    for table in tables:
        for label in range(table.lesions.shape[1]):
            mine = table.labels == label
            parts = _resampled(table.scores[mine], table.hits[mine], table.image[mine], table.lesions[:, label], groups,
                               samples, seed, envelope=True)
            out.append(np.concatenate([np.zeros((0, 101)), *parts]).mean(axis=1))
    shape = len(tables), tables[0].lesions.shape[1] if len(tables) else 0
    return np.array(out).T.reshape(-1, *shape) if out else np.zeros((0, *shape))


def bootstrap_recall(tables: Sequence[LesionTable], *, groups=None, samples: int = 200, seed: int = 0) -> np.ndarray:
    """Share of the boxes of each class that any detection found, of resampled images, (samples, T, C); NaN where a draw
    has no box of a class. Arguments, draws and errors are those of :func:`bootstrap_average_precision`."""
    if not len(tables):
        return np.zeros((0, 0, 0))
    images, classes = tables[0].lesions.shape
    found = np.zeros((images, len(tables), classes))
    for number, table in enumerate(tables):
        np.add.at(found[:, number], (table.image[table.hits], table.labels[table.hits]), 1)
    asked = np.stack([table.lesions for table in tables], axis=1).astype(np.float64)
    parts = [ratio(np.tensordot(draws.T, found, 1), np.tensordot(draws.T, asked, 1))
             for draws in draws_of_groups(images, groups=groups, samples=samples, seed=seed)]
    return np.concatenate([np.zeros((0, len(tables), classes)), *parts])


def calibration_curve(y_true, y_prob, *, groups=None, bins: int = BINS, samples: int = 200) -> CalibrationCurve:
    """Share of positives against mean probability in the bins of
    :func:`cxrdet.core.classification.calibration.calibration_bins`.

    Args:
        y_true: (N,) labels: 1, 0 or NaN (left out).
        y_prob: (N,) probabilities in [0, 1].
        groups: (N,) group of each entry, drawn as a whole; None: each entry for itself.
        bins: number of bins.
        samples: draws of the bootstrap.

    Raises: ValueError as ``calibration_bins``, or if ``groups`` do not fit.
    """
    found = calibration_bins(y_true, y_prob, bins=bins)
    known, used = found.place >= 0, np.flatnonzero(found.count)
    true, place = np.asarray(y_true, np.float64).reshape(-1)[known], np.searchsorted(used, found.place[known])
    shares = [np.zeros((0, len(used)))]
    for draws in draws_of_groups(len(true), groups=None if groups is None else np.asarray(groups)[known],
                                 samples=samples):
        sums = [np.stack([np.bincount(place, weights=column, minlength=len(used)) for column in (draws.T * weight)])
                for weight in (true, np.ones(len(true)))]
        shares.append(ratio(*sums))
    low, high = percentile_interval(np.concatenate(shares))
    return CalibrationCurve(found.mean[used], found.share[used], found.count[used], low, high)


def _resampled(scores, is_hit, image, targets, groups, samples: int, seed: int, *, envelope: bool):
    """Yield precision at the recalls of resampled images, (draws, 101); NaN for a draw without targets.

    ``envelope``: the best precision at that recall or above, each detection its own threshold, as COCO's AP takes it.
    """
    scores, hit = score_columns(scores, is_hit)
    image, targets = np.asarray(image, np.int64).reshape(-1), np.asarray(targets, np.float64).reshape(-1)
    if len(image) != len(scores):
        raise ValueError(f'expected one image number a detection, got {len(image)} for {len(scores)} detections')
    order = np.argsort(-scores, kind='stable')
    hit, image = hit[order], image[order]
    last = np.arange(len(order)) if envelope else last_of_ties(scores[order])
    for draws in draws_of_groups(len(targets), groups=groups, samples=samples, seed=seed):
        rows = []
        for weights in draws.T:
            counted, total = weights[image], weights @ targets
            found, reported = np.cumsum(counted * hit)[last], np.cumsum(counted)[last]
            precision = np.divide(found, reported, out=np.zeros(len(last)), where=reported > 0)
            if len(last):
                precision[reported == 0] = precision[np.argmax(reported > 0)]  # not drawn: the first that was
            if envelope:
                precision = np.maximum.accumulate(precision[::-1])[::-1]
            at = np.searchsorted(found / total, _RECALLS, side='left') if total else None
            rows.append(np.full(101, np.nan) if at is None else np.append(precision, 0)[at])
        yield np.array(rows)
