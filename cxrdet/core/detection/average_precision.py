"""Average precision of scored detections that are known to be hits or not."""
from collections.abc import Sequence

import numpy as np

from cxrdet.core.detection.matching import Pairing

#: Overlaps that COCO's mAP is the mean over.
IOUS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
_RECALLS = np.linspace(0, 1, 101)


def average_precision(scores, is_hit, n_targets: int) -> float:
    """COCO's average precision in [0, 1]: mean of the best precision at recalls of at least 0, 0.01 … 1.

    Source: T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014,
    and ``pycocotools``, with which it agrees. Equal scores keep their order.

    Args:
        scores: (N,) of any range, one entry per detection of the set.
        is_hit: (N,) bool, whether it took a ground-truth box, one to one.
        n_targets: boxes to be found; without any the result is NaN.

    Raises: ValueError for differing lengths.
    """
    scores, hit = score_columns(scores, is_hit)
    if not n_targets:
        return float('nan')
    found = np.cumsum(hit[np.argsort(-scores, kind='stable')])
    precision = np.maximum.accumulate((found / np.arange(1, len(found) + 1))[::-1])[::-1]
    place = np.searchsorted(found / n_targets, _RECALLS, side='left')
    return float(np.append(precision, 0)[place].mean())


def score_columns(scores, is_hit) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N,) float64, and whether each is of a hit, (N,) bool; raises ValueError for differing lengths."""
    scores, hit = np.asarray(scores, np.float64).reshape(-1), np.asarray(is_hit).astype(bool).reshape(-1)
    if len(scores) != len(hit):
        raise ValueError(f'expected one score a detection, got {len(scores)} scores and {len(hit)} hits')
    return scores, hit


def class_precisions(labels, scores, is_hit, n_targets) -> np.ndarray:
    """:func:`average_precision` of each class, (C,) float64; ``labels`` (N,) int are
    the classes of the detections, ``n_targets`` (C,) the boxes of each.

    NaN for a class without ground truth; ``scores`` and ``is_hit`` are (N,), as for :func:`average_precision`.
    """
    labels, scores, hit = np.asarray(labels, np.int64), np.asarray(scores, np.float64), np.asarray(is_hit, bool)
    return np.array([average_precision(scores[labels == k], hit[labels == k], n) for k, n in enumerate(n_targets)])


def precisions_by_overlap(pairing: Pairing, ious: Sequence[float] = IOUS) -> np.ndarray:
    """:func:`average_precision` at each overlap of each class, (T, C) float64, NaN without ground truth."""
    tables = [pairing.lesions(iou) for iou in ious]
    return np.array([class_precisions(table.labels, table.scores, table.hits, table.lesions.sum(axis=0))
                     for table in tables]).reshape(len(tables), pairing.classes)
