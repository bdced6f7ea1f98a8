"""What kind of mistakes a detector makes, and what mending each kind would be worth.

Source: D. Bolya, S. Foley, J. Hays, J. Hoffman, "TIDE: A General Toolbox for
Identifying Object Detection Errors", ECCV 2020. With t_f = 0.5 and t_b = 0.1, a false
positive is, by the first rule that fits,

- ``localisation``: t_b <= IoU <= t_f with a box of its class;
- ``classification``: IoU >= t_f with a box of another class;
- ``duplicate``: IoU >= t_f with a box of its class that a better detection took;
- ``background``: IoU <= t_b with every box;
- ``both``: what is left, t_b < IoU < t_f with boxes of other classes only;

and ``missed`` is ground truth that no detection found and no localisation or classification error points at.
"""
from typing import NamedTuple

import numpy as np

from cxrdet.core.detection.average_precision import class_precisions
from cxrdet.core.detection.boxes import box_area
from cxrdet.core.detection.matching import Pairing
from cxrdet.core.rates import mean_of_known

ERROR_TYPES = ('classification', 'localisation', 'both', 'duplicate', 'background', 'missed')
_CLS, _LOC, _BOTH, _DUP, _BKG, _MISS = range(6)
HIT, IGNORED = -1, -2
T_F, T_B = 0.5, 0.1


class ErrorTable(NamedTuple):
    """Detections (N) and all ground-truth boxes (M) of a set, each with what became of it."""

    row: np.ndarray  # (N,) int, of the :class:`~cxrdet.core.detection.matching.Pairing`
    image: np.ndarray  # (N,) int, number of the image
    label: np.ndarray  # (N,)
    score: np.ndarray  # (N,)
    area: np.ndarray  # (N,) square pixels
    # (N,) int, index in :data:`ERROR_TYPES`, or :data:`HIT`, or :data:`IGNORED` (on an ignored region)
    kind: np.ndarray
    target: np.ndarray  # (N,) int, row of the ground truth that it took, or that its error is about; -1 for none
    target_image: np.ndarray  # (M,)
    target_label: np.ndarray  # (M,)
    target_area: np.ndarray  # (M,)
    ignore: np.ndarray  # (M,) bool
    num_classes: int  # labels run from 0 to ``num_classes - 1``

    @property
    def found(self) -> np.ndarray:
        """(M,) bool: ground truth that a detection took."""
        return self._pointed_at(self.kind < 0)

    @property
    def missed(self) -> np.ndarray:
        """(M,) bool: missed as defined above, so neither found nor pointed at."""
        return ~(self.ignore | self._pointed_at((self.kind < 0) | (self.kind == _LOC) | (self.kind == _CLS)))

    def _pointed_at(self, rows: np.ndarray) -> np.ndarray:
        marks = np.zeros(len(self.ignore), bool)
        marks[self.target[rows]] = True
        return marks

    def counts(self) -> dict[str, int]:
        """Number of errors of each type."""
        counts = np.bincount(self.kind[self.kind >= 0], minlength=len(ERROR_TYPES))
        counts[_MISS] = self.missed.sum()
        return dict(zip(ERROR_TYPES, counts.tolist()))

    def from_score(self, score_thr: float) -> 'ErrorTable':
        """The table of the detections from a score on: better ones alone decide over each."""
        shown = self.score >= score_thr
        return ErrorTable._make((*(column[shown] for column in self[:7]), *self[7:]))


def error_table(pairing: Pairing) -> ErrorTable:
    """Sort every detection and every ground-truth box of a set into hits and types of errors.

    What falls on an ignored box of its class is no error. Raises ValueError if the pairing's ``lowest`` is above t_b.
    """
    if pairing.lowest > T_B:
        raise ValueError(f'expected pairs that are noted from an overlap of {T_B} on, got {pairing.lowest:g}')
    target, real, same = pairing.taken(T_F), ~pairing.ignore[pairing.truth], pairing.same_class
    (own, near_own), (other, near_other), (best, near) = (
        _nearest(pairing, pairs) for pairs in (real & same, real & ~same, real))
    rules = [(np.append(pairing.ignore, False)[target], IGNORED, target), (target >= 0, HIT, target),
             ((own >= T_B) & (own <= T_F), _LOC, near_own), (other >= T_F, _CLS, near_other),
             (own >= T_F, _DUP, near_own),  # by rank: were the box free, this detection had taken it
             (best > T_B, _BOTH, near)]
    applies, kinds, targets = zip(*rules)
    kind = np.select(applies, kinds, _BKG)
    return ErrorTable(np.arange(len(kind)), pairing.image, pairing.label, pairing.score, box_area(pairing.boxes), kind,
                      np.select(applies, targets, -1), pairing.truth_image, pairing.truth_label,
                      box_area(pairing.truth_boxes), pairing.ignore, pairing.classes)


def _nearest(pairing: Pairing, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    row, truth, overlap = pairing.row[pairs], pairing.truth[pairs], pairing.overlap[pairs]
    best, nearest = np.zeros(len(pairing.score)), np.full(len(pairing.score), -1)
    np.maximum.at(best, row, overlap)
    top = overlap == best[row]
    nearest[row[top]] = truth[top]  # of equal overlaps the last that is written: the first box
    return best, nearest


def mending_gains(table: ErrorTable) -> dict[str, float]:
    """The mean average precision (``mAP``, at the table's t_f) and what it would gain without each type of error.

    Mended, a localisation or classification error becomes a hit if its box was not
    found and it is the best of those that point at it, and vanishes otherwise;
    duplicate, background and both vanish; a missed box is not asked for. Each gain
    is for mending that type alone, 0 where it would be below (as in TIDE).
    ``false_positive`` and ``false_negative`` are the paper's two further numbers:
    all false positives below all hits, and no unfound box asked for. Classes
    without ground truth are left out.

    Returns: {'mAP': …, 'classification': …, …, 'false_positive': …, 'false_negative': …}, in [0, 1], or all NaN.
    """
    counted = table.kind != IGNORED
    label, score, kind = table.label[counted], table.score[counted], table.kind[counted]
    target, hit = table.target[counted], table.kind[counted] == HIT
    asked = np.bincount(table.target_label[~table.ignore], minlength=table.num_classes)
    base = mean_of_known(class_precisions(label, score, hit, asked))
    mendable = _best_of_each(kind, target, score, table.found)
    gains = {'mAP': base}
    for number, name in enumerate(ERROR_TYPES[:-1]):
        becomes_hit = mendable & (kind == number)
        keep = (kind != number) | becomes_hit
        new_label = np.where(becomes_hit, table.target_label[target], label) if len(table.found) else label
        precisions = class_precisions(new_label[keep], score[keep], (hit | becomes_hit)[keep], asked)
        gains[name] = mean_of_known(precisions) - base
    unfound = ~table.found & ~table.ignore
    for name, left_out in (('missed', table.missed), ('false_negative', unfound)):
        fewer = asked - np.bincount(table.target_label[left_out], minlength=table.num_classes)
        values = class_precisions(label, score, hit, fewer)
        # Nothing is asked for any more: detections of that class are all false (0, as in TIDE), or there are none (NaN)
        values[np.isnan(values) & (asked > 0) & np.isin(np.arange(len(asked)), label)] = 0
        gains[name] = mean_of_known(values if not np.isnan(values).all() else [base]) - base
    gains['false_positive'] = mean_of_known(class_precisions(label, np.where(hit, 1., 0.), hit, asked)) - base
    order = ('mAP', *ERROR_TYPES, 'false_positive', 'false_negative')
    return {name: gains[name] if name == 'mAP' or np.isnan(gains[name]) else max(gains[name], 0.) for name in order}


def _best_of_each(kind, target, score, found) -> np.ndarray:
    """The errors that would become hits, at most one for each box that was not found."""
    chosen = np.zeros(len(kind), bool)
    rows = np.flatnonzero((kind == _LOC) | (kind == _CLS))
    rows = rows[~found[target[rows]]]
    rows = rows[np.argsort(-score[rows], kind='stable')]
    chosen[rows[np.unique(target[rows], return_index=True)[1]]] = True
    return chosen


def confusion_table(pairing: Pairing, *, score_thr: float = 0.5, iou_thr: float = 0.5) -> np.ndarray:
    """Confusion matrix (C + 1, C + 1) int64: rows are true classes, columns predicted ones, the last is background.

    Every detection and every box counts once. Boxes are matched within their class
    first, as everywhere; what is left on both sides is then matched whatever the class:
    these are confusions. A box that is left is missed (last column), a detection a
    false alarm (last row). Detections below ``score_thr`` and those on ignored boxes
    are left out, ignored boxes too.

    Args:
        pairing: of the set.
        score_thr: lowest score of a detection that counts, in [0, 1].
        iou_thr: lowest overlap of a match, in (0, 1].
    """
    matrix = np.zeros((pairing.classes + 1, ) * 2, np.int64)
    taken, shown = pairing.taken(iou_thr), pairing.score >= score_thr
    rest, left = shown & (taken < 0), ~pairing.ignore
    left[taken[shown & (taken >= 0)]] = False
    taken = np.where(rest, pairing.assign(iou_thr, rest[pairing.row] & left[pairing.truth]), taken)
    called = shown & ~np.append(pairing.ignore, False)[taken]
    true = np.append(pairing.truth_label, pairing.classes)[taken]
    np.add.at(matrix, (true[called], pairing.label[called]), 1)
    left[taken[shown & (taken >= 0)]] = False
    matrix[:, -1] += np.bincount(pairing.truth_label[left], minlength=len(matrix))
    return matrix


def errors_by_size(table: ErrorTable, *, edges=(32. ** 2, 96. ** 2)) -> list[dict]:
    """Errors by area of the box: false positives by their own area, ground truth by its own.

    Args:
        table: of :func:`error_table`.
        edges: rising areas in square pixels that part the ranges; by default COCO's small, medium and large.

    Returns: one mapping a range: ``area`` (low, high), ``boxes``, ``found``,
        ``recall`` (NaN without boxes), ``detections``, ``hits`` and the number
        of each of :data:`ERROR_TYPES`.
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
