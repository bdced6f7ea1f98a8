"""The one place that pairs predicted boxes with ground truth: one to one, by COCO's rule, once for a whole split.

:func:`pair_boxes` notes which predictions overlap which ground truth; every figure of a
detector, at any overlap and from any score on, is derived from that table
(:class:`Pairing`). A prediction's match depends on better ones only.

Source: T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, and
``pycocotools.cocoeval``, whose decisions these functions repeat, ties included.
"""
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from cxrdet.core.detection.boxes import box_area, box_iou
from cxrdet.core.rates import Counts


class LesionTable(NamedTuple):
    """All predictions (N) of a set of I images with C classes, those on ignored boxes
    left out, matched at one overlap.
    """

    scores: np.ndarray  # (N,) float64
    hits: np.ndarray  # (N,) bool, matched one to one with a lesion of its class
    labels: np.ndarray  # (N,) int64
    image: np.ndarray  # (N,) int64, number of the image
    lesions: np.ndarray  # (I, C) int64, lesions of each image, found or not, without ignored ones

    def of_classes(self, labels: Sequence[int]) -> 'LesionTable':
        """The table of some classes, which rise and are numbered anew."""
        keep = np.isin(self.labels, labels)
        return LesionTable(self.scores[keep], self.hits[keep], np.searchsorted(labels, self.labels[keep]),
                           self.image[keep], self.lesions[:, labels])

    def counts(self, score_thr: float = 0.5) -> Counts:
        """Hits and misses of each class, of the predictions with a score of at least ``score_thr``."""
        shown, asked = self.scores >= score_thr, self.lesions.sum(axis=0)
        found, false = (np.bincount(self.labels[shown & part], minlength=len(asked)) for part in
                        (self.hits, ~self.hits))
        return Counts(found, false, asked - found)


@dataclass(eq=False)
class Pairing:
    """The predictions (N) of a split, its ground truth (M), and the pairs (P) that may match."""

    image: np.ndarray  # (N,) int64, number of the image
    label: np.ndarray  # (N,) int64
    score: np.ndarray  # (N,) float64
    boxes: np.ndarray  # (N, 4) float64 xyxy, pixels
    truth_image: np.ndarray  # (M,), as of the predictions
    truth_label: np.ndarray  # (M,)
    truth_boxes: np.ndarray  # (M, 4)
    ignore: np.ndarray  # (M,) bool, crowd regions and difficult objects
    row: np.ndarray  # (P,) int64, prediction of each pair, in falling order of score
    truth: np.ndarray  # (P,) int64, ground truth, the nearest first, ignored ones last
    overlap: np.ndarray  # (P,) float64 in [0, 1], see :func:`overlaps`
    images: int
    classes: int
    lowest: float  # overlap from which pairs are noted
    _taken: dict[float, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def same_class(self) -> np.ndarray:
        """(P,) bool."""
        return self.label[self.row] == self.truth_label[self.truth]

    def taken(self, iou_thr: float = 0.5) -> np.ndarray:
        """(N,) int64: the ground truth that each prediction took within its class, -1 for none.

        In falling order of score, each takes the free box of highest overlap >=
        ``iou_thr``. An ignored box is taken only where no other fits and stays free
        for any number of predictions. Equal scores keep their order; of equal
        overlaps the later box wins, as in pycocotools. ValueError if ``iou_thr`` is
        not in (0, 1], or below what was noted.
        """
        if iou_thr not in self._taken:
            self._taken[iou_thr] = self.assign(iou_thr, self.same_class)
        return self._taken[iou_thr]

    def assign(self, iou_thr: float, pairs: np.ndarray) -> np.ndarray:
        """As :meth:`taken`, whatever the class, among some pairs, (P,) bool."""
        if not self.lowest <= iou_thr <= 1:
            raise ValueError(f'iou_thr must lie in (0, 1], and in [{self.lowest:g}, 1] here, got {iou_thr}')
        pairs = pairs & (self.overlap >= min(iou_thr, 1 - 1e-10))
        row, truth = self.row[pairs], self.truth[pairs]
        taken = np.full(len(self.score), -1)
        while len(row):  # a pair that is the first of its prediction and the first of its truth is a match
            place, first = np.arange(len(row)), np.zeros(len(self.ignore), np.int64)
            first[truth[::-1]] = place[::-1]
            match = np.append(True, row[1:] != row[:-1]) & ((first[truth] == place) | self.ignore[truth])
            taken[row[match]] = truth[match]
            used = np.zeros(len(self.ignore), bool)
            used[truth[match]] = True
            left = (taken[row] < 0) & ~(used & ~self.ignore)[truth]
            row, truth = row[left], truth[left]
        return taken

    def lesions(self, iou_thr: float = 0.5) -> LesionTable:
        """The columns of FROC and average precision at an overlap."""
        taken, real = self.taken(iou_thr), ~self.ignore
        counted = (taken < 0) | np.append(real, True)[taken]
        lesions = np.zeros((self.images, self.classes), np.int64)
        np.add.at(lesions, (self.truth_image[real], self.truth_label[real]), 1)
        return LesionTable(self.score[counted], taken[counted] >= 0, self.label[counted], self.image[counted], lesions)


def pair_boxes(predictions: Iterable[Mapping], targets: Iterable[Mapping], num_classes: int | None = None, *,
               lowest: float = 0.1, most: int | None = None) -> Pairing:
    """Note which predictions of a split overlap which ground truth.

    Args:
        predictions: one mapping an image with ``boxes`` (N, 4) xyxy in pixels, ``scores`` (N,) and ``labels`` (N,) int.
        targets: one mapping an image, in the same order: ``boxes`` (M, 4), ``labels``
            (M,) and optionally ``ignore`` (M,) bool.
        num_classes: labels run from 0 to ``num_classes - 1``; None: to the highest there is.
        lowest: overlap from which a pair is noted, in (0, 1]; nothing can be asked below it.
        most: only so many of the best predictions of each image and class count (COCO: 100); None: all.

    Raises: ValueError for numbers of images or lengths that differ, boxes that are not finite, labels out of range.
    """
    if not 0 < lowest <= 1:
        raise ValueError(f'lowest must lie in (0, 1], got {lowest}')
    parts: list[tuple] = []
    offset = np.zeros(2, np.int64)
    for number, (prediction, target) in enumerate(zip(predictions, targets, strict=True)):
        (boxes, score, label), (true_boxes, ignore, true_label) = _columns(number, prediction, target, num_classes,
                                                                           most)
        overlap = overlaps(boxes, true_boxes, ignore)
        row, column = np.nonzero((overlap >= lowest) & (~ignore | (label[:, None] == true_label)))
        parts.append((np.full(len(label), number), label, score, boxes, np.full(len(ignore), number), true_label,
                      true_boxes, ignore, row + offset[0], column + offset[1], overlap[row, column]))
        offset += len(label), len(ignore)
    integers, reals = (np.zeros(0, np.int64),) * 2, (np.zeros(0), np.zeros((0, 4)))
    parts.append((*integers, *reals, *integers, reals[1], np.zeros(0, bool), *integers, reals[0]))
    image, label, score, boxes, truth_image, truth_label, truth_boxes, ignore, row, truth, overlap = (
        np.concatenate(column) for column in zip(*parts))
    order = np.lexsort((-truth, -overlap, ignore[truth], row, -score[row]))
    if num_classes is None:
        num_classes = int(max(label.max(initial=-1), truth_label.max(initial=-1))) + 1
    return Pairing(image, label, score, boxes, truth_image, truth_label, truth_boxes, ignore, row[order], truth[order],
                   overlap[order], len(parts) - 1, num_classes, lowest)


def _columns(number: int, prediction: Mapping, target: Mapping, num_classes: int | None, most: int | None) -> tuple:
    sides = []
    for what, part, name, kind in (('predicted', prediction, 'scores', np.float64),
                                   ('ground-truth', target, 'ignore', bool)):
        boxes, labels = as_boxes(part['boxes'], f'image {number}: {what} boxes'), np.asarray(part['labels'])
        other = part.get(name)
        other = np.zeros(len(boxes), bool) if other is None and kind is bool else np.asarray(other)
        labels, other = labels.astype(np.int64).reshape(-1), other.astype(kind).reshape(-1)
        if not len(boxes) == len(labels) == len(other):
            raise ValueError(f'image {number}: expected one entry of labels and {name} a {what} box, got {len(labels)} '
                             f'and {len(other)} for {len(boxes)} boxes')
        top = np.inf if num_classes is None else num_classes - 1
        if labels.size and not 0 <= labels.min() <= labels.max() <= top:
            raise ValueError(f'image {number}: {what} labels must lie in 0..{top}, got {labels.min()}..{labels.max()}')
        sides.append((boxes, other, labels))
    (boxes, scores, labels), truth = sides
    if most is not None and len(labels) > most:
        order = np.lexsort((-scores, labels))
        rank = np.arange(len(order)) - np.searchsorted(labels[order], labels[order])
        kept = np.sort(order[rank < most])
        boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
    return (boxes, scores, labels), truth


def as_boxes(boxes, name: str = 'boxes') -> np.ndarray:
    """``boxes`` as (N, 4) float64, an empty sequence as (0, 4); ValueError for another
    shape or a value that is not finite.
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

    Intersection over union; for a target that is a crowd region ((M,) bool)
    intersection over the area of the box, so that a small box inside a large region
    scores 1. Pairs without any area score 0.
    """
    boxes, targets, crowd = as_boxes(boxes), as_boxes(targets, 'targets'), np.asarray(crowd, bool)
    overlap = box_iou(boxes, targets)
    if crowd.any():
        sides = np.minimum(boxes[:, None, 2:], targets[crowd, 2:]) - np.maximum(boxes[:, None, :2], targets[crowd, :2])
        area = box_area(boxes)[:, None]
        overlap[:, crowd] = sides.clip(min=0).prod(axis=2) / np.where(area > 0, area, 1)
    return overlap
