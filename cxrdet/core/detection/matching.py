"""One-to-one matching of predicted boxes with ground truth, by COCO's rule.

Source: T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, and the reference evaluation
``pycocotools.cocoeval.COCOeval.evaluateImg``, whose decisions these functions repeat, ties included.
"""
from typing import NamedTuple

import numpy as np

from cxrdet.core.detection.boxes import box_area, box_iou

__all__ = ['Matches', 'as_boxes', 'match_boxes', 'match_labelled_boxes', 'overlaps']


class Matches(NamedTuple):
    """Result of matching N predictions with M ground-truth boxes.

    Attributes:
        target: (N,) int64, index of the box that prediction i took, -1 for none.
        iou: (N,) float64 in [0, 1], overlap with that box (intersection over the prediction's own area where the box
            is an ignored one), 0 for none.
        ignored: (N,) bool, True where the box taken is an ignored one: neither a true nor a false positive.
        found: (M,) bool, True for ground truth that a prediction took.
    """

    target: np.ndarray
    iou: np.ndarray
    ignored: np.ndarray
    found: np.ndarray


def as_boxes(boxes, name: str = 'boxes') -> np.ndarray:
    """Return ``boxes`` as (N, 4) float64; an empty sequence becomes (0, 4).

    Raises: ValueError if the shape is not (N, 4) or a value is not finite.
    """
    array = np.asarray(boxes, dtype=np.float64)
    if array.size == 0:
        return np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f'{name}: expected shape (N, 4) as x1, y1, x2, y2, got {array.shape}')
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise ValueError(f'{name}: row {row} holds a value that is not finite: {array[row].tolist()}')
    return array


def overlaps(boxes, targets, crowd) -> np.ndarray:
    """Overlap (N, M) in [0, 1] of boxes (N, 4) with targets (M, 4), xyxy in pixels, by COCO's two rules.

    Intersection over union; for a target that is a crowd region ((M,) bool) intersection over the area of the box, so
    that a small box inside a large region scores 1. Pairs without any area score 0.
    """
    boxes, targets, crowd = as_boxes(boxes), as_boxes(targets, 'targets'), np.asarray(crowd, bool)
    overlap = box_iou(boxes, targets)
    if crowd.any():
        sides = np.minimum(boxes[:, None, 2:], targets[crowd, 2:]) - np.maximum(boxes[:, None, :2], targets[crowd, :2])
        area = box_area(boxes)[:, None]
        overlap[:, crowd] = sides.clip(min=0).prod(axis=2) / np.where(area > 0, area, 1)
    return overlap


def match_boxes(boxes, scores, targets, *, iou_thr: float = 0.5, ignore=None) -> Matches:
    """Match predictions with ground truth one to one, in falling order of score.

    Each prediction takes the free box of highest overlap >= ``iou_thr``. An ignored box is taken only where no other
    fits and stays free for any number of predictions. Equal scores keep their order; of equal overlaps the later box
    wins, as in pycocotools.

    Args:
        boxes: (N, 4) xyxy, absolute pixels.
        scores: (N,) of any range; only their order counts.
        targets: (M, 4) xyxy.
        iou_thr: in (0, 1].
        ignore: (M,) bool, crowd regions and difficult objects. Default: none.

    Raises: ValueError if lengths differ, a box is not finite or ``iou_thr`` is out of range.
    """
    boxes, targets = as_boxes(boxes), as_boxes(targets, 'targets')
    scores = np.asarray(scores, dtype=np.float64).reshape(-1)
    ignore = np.zeros(len(targets), bool) if ignore is None else np.asarray(ignore).astype(bool).reshape(-1)
    if len(scores) != len(boxes):
        raise ValueError(f'expected one score a box, got {len(scores)} scores for {len(boxes)} boxes')
    if len(ignore) != len(targets):
        raise ValueError(f'expected one ignore flag a target, got {len(ignore)} for {len(targets)} targets')
    if not 0 < iou_thr <= 1:
        raise ValueError(f'iou_thr must lie in (0, 1], got {iou_thr}')

    matches = Matches(np.full(len(boxes), -1), np.zeros(len(boxes)), np.zeros(len(boxes), bool),
                      np.zeros(len(targets), bool))
    if not len(boxes) or not len(targets):
        return matches
    overlap = overlaps(boxes, targets, crowd=ignore)
    lowest = min(iou_thr, 1 - 1e-10)
    for i in np.argsort(-scores, kind='stable'):
        for candidates in (~ignore & ~matches.found, ignore):
            row = np.where(candidates, overlap[i], -1)
            best = len(row) - 1 - int(row[::-1].argmax())  # the last of equal overlaps
            if row[best] >= lowest:
                matches.target[i], matches.iou[i], matches.ignored[i] = best, overlap[i, best], ignore[best]
                matches.found[best] = True
                break
    return matches


def match_labelled_boxes(boxes, scores, labels, targets, target_labels, *, iou_thr: float = 0.5,
                         ignore=None) -> Matches:
    """:func:`match_boxes` within each class; the indices in the result are those of the whole image.

    Args:
        labels: (N,) int, class of each prediction.
        target_labels: (M,) int, class of each ground-truth box.
        boxes, scores, targets, iou_thr, ignore: as for :func:`match_boxes`.
    """
    boxes, targets = as_boxes(boxes), as_boxes(targets, 'targets')
    scores, labels = np.asarray(scores, np.float64).reshape(-1), np.asarray(labels).reshape(-1)
    target_labels = np.asarray(target_labels).reshape(-1)
    ignore = np.zeros(len(targets), bool) if ignore is None else np.asarray(ignore).astype(bool).reshape(-1)
    if len(labels) != len(boxes) or len(target_labels) != len(targets):
        raise ValueError(f'expected one label a box, got {len(labels)} for {len(boxes)} boxes and '
                         f'{len(target_labels)} for {len(targets)} targets')
    whole = Matches(np.full(len(boxes), -1), np.zeros(len(boxes)), np.zeros(len(boxes), bool),
                    np.zeros(len(targets), bool))
    for label in np.unique(labels):
        mine, theirs = np.flatnonzero(labels == label), np.flatnonzero(target_labels == label)
        part = match_boxes(boxes[mine], scores[mine], targets[theirs], iou_thr=iou_thr, ignore=ignore[theirs])
        taken = part.target >= 0
        whole.target[mine[taken]] = theirs[part.target[taken]]
        whole.iou[mine], whole.ignored[mine], whole.found[theirs] = part.iou, part.ignored, part.found
    return whole
