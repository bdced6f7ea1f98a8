"""What kind of mistakes a detector makes, and what mending each kind would be worth.

Source: D. Bolya, S. Foley, J. Hays, J. Hoffman, "TIDE: A General Toolbox for Identifying Object Detection Errors",
ECCV 2020. With t_f = 0.5 and t_b = 0.1, a false positive is, by the first rule that fits,

- ``localisation``: t_b <= IoU <= t_f with a box of its class;
- ``classification``: IoU >= t_f with a box of another class;
- ``duplicate``: IoU >= t_f with a box of its class that a better detection took;
- ``background``: IoU <= t_b with every box;
- ``both``: what is left, t_b < IoU < t_f with boxes of other classes only;

and ``missed`` is ground truth that no detection found and no localisation or classification error points at.
"""
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from cxrdet.core.classification.confusion import top_confusions
from cxrdet.core.detection.average_precision import class_precisions
from cxrdet.core.detection.boxes import box_area
from cxrdet.core.detection.matching import as_boxes, match_boxes, match_labelled_boxes, overlaps

__all__ = ['ERROR_TYPES', 'HIT', 'IGNORED', 'ErrorTable', 'confusion_table', 'error_table', 'errors_by_size',
           'frequent_confusions', 'mending_gains']

ERROR_TYPES = ('classification', 'localisation', 'both', 'duplicate', 'background', 'missed')
_CLS, _LOC, _BOTH, _DUP, _BKG, _MISS = range(6)
HIT, IGNORED = -1, -2


class ErrorTable(NamedTuple):
    """All detections (N) and all ground-truth boxes (M) of a set, each with what became of it.

    Attributes:
        image: (N,) int, position of the image.
        index: (N,) int, position of the detection within its image.
        label, score, area: (N,) class, score and area in square pixels of the detections.
        kind: (N,) int, index in :data:`ERROR_TYPES`, or :data:`HIT`, or :data:`IGNORED` (on an ignored region).
        target: (N,) int, row of the ground truth that the detection took, or that its error is about; -1 for none.
        target_image, target_label, target_area: (M,) of the ground truth.
        found, ignore, missed: (M,) bool; ``missed`` as defined above, so neither found nor pointed at.
        num_classes: labels run from 0 to ``num_classes - 1``.
    """

    image: np.ndarray
    index: np.ndarray
    label: np.ndarray
    score: np.ndarray
    area: np.ndarray
    kind: np.ndarray
    target: np.ndarray
    target_image: np.ndarray
    target_label: np.ndarray
    target_area: np.ndarray
    found: np.ndarray
    ignore: np.ndarray
    missed: np.ndarray
    num_classes: int

    def counts(self) -> dict[str, int]:
        """Number of errors of each type."""
        counts = np.bincount(self.kind[self.kind >= 0], minlength=len(ERROR_TYPES))
        counts[_MISS] = self.missed.sum()
        return dict(zip(ERROR_TYPES, counts.tolist()))


def error_table(predictions: Iterable[Mapping], targets: Iterable[Mapping], num_classes: int, *,
                foreground: float = 0.5, background: float = 0.1) -> ErrorTable:
    """Sort every detection and every ground-truth box of a set into hits and types of errors.

    Args:
        predictions: one mapping an image with ``boxes`` (N, 4) xyxy in pixels, ``scores`` (N,) and ``labels`` (N,) int.
        targets: one mapping an image, in the same order: ``boxes`` (M, 4), ``labels`` (M,) and optionally ``ignore``
            (M,) bool; what falls on an ignored box of its class is no error.
        num_classes: labels run from 0 to ``num_classes - 1``.
        foreground, background: t_f and t_b, 0 < t_b < t_f <= 1.

    Raises: ValueError for thresholds or labels out of range, or different numbers of images.
    """
    if not 0 < background < foreground <= 1:
        raise ValueError(f'expected 0 < background < foreground <= 1, got {background} and {foreground}')
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ErrorTable._fields[:-1]}
    offset = 0
    for image, (prediction, target) in enumerate(zip(predictions, targets, strict=True)):
        rows = _image_errors(*_arrays(image, prediction, target, num_classes), foreground, background)
        rows['target'] = np.where(rows['target'] >= 0, rows['target'] + offset, -1)
        rows |= {'image': np.full(len(rows['label']), image), 'index': np.arange(len(rows['label'])),
                 'target_image': np.full(len(rows['found']), image)}
        offset += len(rows['found'])
        for name, column in rows.items():
            parts[name].append(column)
    flags, reals = ('found', 'ignore', 'missed'), ('score', 'area', 'target_area')
    columns = {name: np.concatenate(column) if column else np.zeros(
        0, bool if name in flags else np.float64 if name in reals else np.int64) for name, column in parts.items()}
    return ErrorTable(**columns, num_classes=num_classes)


def _arrays(image: int, prediction: Mapping, target: Mapping, num_classes: int) -> tuple[np.ndarray, ...]:
    boxes, truth = as_boxes(prediction['boxes']), as_boxes(target['boxes'], 'targets')
    scores = np.asarray(prediction['scores'], np.float64).reshape(-1)
    labels, true = (np.asarray(part['labels'], np.int64).reshape(-1) for part in (prediction, target))
    for name, values in (('predicted', labels), ('ground-truth', true)):
        if values.size and not (0 <= values.min() and values.max() < num_classes):
            raise ValueError(f'image {image}: {name} labels must lie in 0..{num_classes - 1}, got {values.min()}..'
                             f'{values.max()}')
    ignore = np.asarray(target.get('ignore', np.zeros(len(true)))).astype(bool).reshape(-1)
    return boxes, scores, labels, truth, true, ignore


def _image_errors(boxes, scores, labels, truth, true, ignore, foreground: float, background: float) -> dict:
    """Columns of :class:`ErrorTable` for one image, targets numbered within it."""
    matches = match_labelled_boxes(boxes, scores, labels, truth, true, iou_thr=foreground, ignore=ignore)
    kind = np.where(matches.ignored, IGNORED, np.where(matches.target >= 0, HIT, _BKG))
    target = matches.target.copy()
    real = np.flatnonzero(~ignore)
    if len(real) and len(boxes):
        iou = overlaps(boxes, truth[real], np.zeros(len(real), bool))
        same = labels[:, None] == true[real]
        own, other = np.where(same, iou, 0), np.where(same, 0, iou)
        taken = np.where(matches.found[real], own, 0)
        rules = [((own.max(1) >= background) & (own.max(1) <= foreground), _LOC, own.argmax(1)),
                 (other.max(1) >= foreground, _CLS, other.argmax(1)),
                 (taken.max(1) >= foreground, _DUP, taken.argmax(1)),
                 (iou.max(1) > background, _BOTH, iou.argmax(1))]
        open_ = kind == _BKG
        for applies, number, nearest in rules:
            chosen = open_ & applies
            kind[chosen], target[chosen] = number, real[nearest[chosen]]
            open_ &= ~applies
    missed = ~matches.found & ~ignore
    missed[target[(kind == _LOC) | (kind == _CLS)]] = False
    return {'label': labels, 'score': scores, 'area': box_area(boxes), 'kind': kind, 'target': target,
            'target_label': true, 'target_area': box_area(truth), 'found': matches.found, 'ignore': ignore,
            'missed': missed}


def mending_gains(table: ErrorTable) -> dict[str, float]:
    """The mean average precision (``mAP``, at the table's t_f) and what it would gain without each type of error.

    Mended, a localisation or classification error becomes a hit if its box was not found and it is the best of those
    that point at it, and vanishes otherwise; duplicate, background and both vanish; a missed box is not asked for. Each
    gain is for mending that type alone; they do not add up. A gain below 0, which the steps of the average precision
    can give, is told as 0, as in TIDE. ``false_positive`` and ``false_negative`` are the paper's two further numbers:
    all false positives below all hits, and no unfound box asked for. Classes without ground truth are left out; all is
    NaN where none has any.

    Returns: {'mAP': …, 'classification': …, …, 'false_positive': …, 'false_negative': …}, values in [0, 1].
    """
    counted = table.kind != IGNORED
    label, score, kind = table.label[counted], table.score[counted], table.kind[counted]
    target, hit = table.target[counted], table.kind[counted] == HIT
    asked = np.bincount(table.target_label[~table.ignore], minlength=table.num_classes)

    def mean_ap(label, score, hit, asked) -> float:
        values = class_precisions(label, score, hit, asked)
        return float(np.nanmean(values)) if not np.isnan(values).all() else float('nan')

    base = mean_ap(label, score, hit, asked)
    mendable = _best_of_each(kind, target, score, table.found)
    gains = {'mAP': base}
    for number, name in enumerate(ERROR_TYPES[:-1]):
        becomes_hit = mendable & (kind == number)
        keep = (kind != number) | becomes_hit
        new_label = np.where(becomes_hit, table.target_label[target], label) if len(table.found) else label
        gains[name] = mean_ap(new_label[keep], score[keep], (hit | becomes_hit)[keep], asked) - base
    unfound = ~table.found & ~table.ignore
    for name, left_out in (('missed', table.missed), ('false_negative', unfound)):
        fewer = asked - np.bincount(table.target_label[left_out], minlength=table.num_classes)
        values = class_precisions(label, score, hit, fewer)
        # Nothing is asked for any more: detections of that class are all false (0, as in TIDE), or there are none (NaN)
        values[np.isnan(values) & (asked > 0) & np.isin(np.arange(len(asked)), label)] = 0
        gains[name] = (float(np.nanmean(values)) if not np.isnan(values).all() else base) - base
    gains['false_positive'] = mean_ap(label, np.where(hit, 1., 0.), hit, asked) - base
    order = ('mAP', *ERROR_TYPES, 'false_positive', 'false_negative')
    return {name: gains[name] if name == 'mAP' or np.isnan(gains[name]) else max(gains[name], 0.) for name in order}


def _best_of_each(kind, target, score, found) -> np.ndarray:
    """Bool (N,): the errors that would become hits, at most one for each box that was not found."""
    chosen = np.zeros(len(kind), bool)
    rows = np.flatnonzero((kind == _LOC) | (kind == _CLS))
    rows = rows[~found[target[rows]]]
    rows = rows[np.argsort(-score[rows], kind='stable')]
    chosen[rows[np.unique(target[rows], return_index=True)[1]]] = True
    return chosen


def confusion_table(predictions: Iterable[Mapping], targets: Iterable[Mapping], num_classes: int, *,
                    score_thr: float = 0.5, iou_thr: float = 0.5) -> np.ndarray:
    """Confusion matrix (C + 1, C + 1) int64: rows are true classes, columns predicted ones, the last is background.

    Every detection and every box counts once. Boxes are matched within their class first, so that the diagonal holds
    the true positives of :func:`cxrdet.core.detection.counts.detection_counts`; what is left on both sides is then
    matched whatever the class: these are confusions. A box that is left is missed (last column), a detection a false
    alarm (last row). Detections below ``score_thr`` and those on ignored boxes are left out, ignored boxes too.
    Arguments as for :func:`error_table`.
    """
    matrix = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    for image, (prediction, target) in enumerate(zip(predictions, targets, strict=True)):
        boxes, scores, labels, truth, true, ignore = _arrays(image, prediction, target, num_classes)
        keep = scores >= score_thr
        boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
        matches = match_labelled_boxes(boxes, scores, labels, truth, true, iou_thr=iou_thr, ignore=ignore)
        hit = (matches.target >= 0) & ~matches.ignored
        np.add.at(matrix, (true[matches.target[hit]], labels[hit]), 1)
        rest, left = np.flatnonzero(matches.target < 0), np.flatnonzero(~matches.found & ~ignore)
        cross = match_boxes(boxes[rest], scores[rest], truth[left], iou_thr=iou_thr)
        confused = cross.target >= 0
        np.add.at(matrix, (true[left[cross.target[confused]]], labels[rest[confused]]), 1)
        np.add.at(matrix, (num_classes, labels[rest[~confused]]), 1)
        np.add.at(matrix, (true[left[~cross.found]], num_classes), 1)
    return matrix


def frequent_confusions(matrix, classes, *, most: int = 10) -> list[tuple[str, str, int, float]]:
    """The most common confusions of one class with another: (true, predicted, number, share of the true class's boxes).

    Args:
        matrix: (C + 1, C + 1) of :func:`confusion_table`.
        classes: C names.
        most: how many at most; pairs that never occur are left out.
    """
    matrix = np.asarray(matrix)
    if matrix.shape != (len(classes) + 1, ) * 2:
        raise ValueError(f'expected a matrix of {len(classes) + 1} rows and columns, got {matrix.shape}')
    return [(classes[i], classes[j], count, float(count / matrix[i].sum()))
            for i, j, count in top_confusions(matrix[:-1, :-1], most)]


def errors_by_size(table: ErrorTable, *, edges=(32. ** 2, 96. ** 2)) -> list[dict]:
    """Errors by area of the box: false positives by their own area, ground truth by its own.

    Args:
        table: of :func:`error_table`.
        edges: rising areas in square pixels that part the ranges; by default COCO's small, medium and large.

    Returns: one mapping a range: ``area`` (low, high), ``boxes``, ``found``, ``recall`` (NaN without boxes),
        ``detections``, ``hits`` and the number of each of :data:`ERROR_TYPES`.
    """
    bounds, rows = [0., *edges, float('inf')], []
    real = ~table.ignore
    for low, high in zip(bounds, bounds[1:]):
        truth = real & (table.target_area >= low) & (table.target_area < high)
        mine = (table.area >= low) & (table.area < high) & (table.kind != IGNORED)
        boxes, found = int(truth.sum()), int((truth & table.found).sum())
        row = {'area': (low, high), 'boxes': boxes, 'found': found, 'recall': found / boxes if boxes else float('nan'),
               'detections': int(mine.sum()), 'hits': int((mine & (table.kind == HIT)).sum())}
        row |= {name: int((mine & (table.kind == number)).sum()) for number, name in enumerate(ERROR_TYPES)}
        rows.append(row | {'missed': int((truth & table.missed).sum())})
    return rows
