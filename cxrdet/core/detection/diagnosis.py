"""Sections of the diagnosis of a detector, from its error tables
(:func:`cxrdet.core.detection.error_types.error_table`).

Gains and average precision look at all detections; what a reader of the results would see, and so all that is counted,
goes by a table of the detections from a score on (``shown``).
"""
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cxrdet.core.detection.average_precision import class_precisions
from cxrdet.core.detection.error_types import ERROR_TYPES, HIT, IGNORED, ErrorTable, errors_by_size, mending_gains
from cxrdet.core.diagnosis import FEW, LIMITS, calibration_section, finding
from cxrdet.core.rates import ratio

#: Shares of the image that part small, medium and large: those of COCO's 32^2 and 96^2 pixels in an image of 640 x 480.
RELATIVE_EDGES = (32. ** 2 / (640 * 480), 96. ** 2 / (640 * 480))
SIZES = ('small', 'medium', 'large')
_GRID = np.arange(5, 96) / 100


def score_curve(table: ErrorTable, scores: Sequence[float] | np.ndarray = _GRID) -> list[dict]:
    """``score``, ``precision``, ``recall``, ``F1`` over all classes (micro) at the lowest ``scores``."""
    counted = table.kind != IGNORED
    score, hit, asked = table.score[counted], table.kind[counted] == HIT, int((~table.ignore).sum())
    shown = [score >= lowest for lowest in scores]
    found, total = (np.array([part.sum() for part in parts]) for parts in ([hit & part for part in shown], shown))
    columns = scores, ratio(found, total), ratio(found, np.full(len(shown), asked)), ratio(2 * found, total + asked)
    return [dict(zip(('score', 'precision', 'recall', 'F1'), map(float, row))) for row in zip(*columns)]


def best_score(curve: Sequence[Mapping]) -> float:
    """The score of the best F1 of :func:`score_curve`, the lowest of equal ones; 0.5 where nothing is found."""
    values = np.nan_to_num([row['F1'] for row in curve])
    return float(curve[int(values.argmax())]['score']) if values.any() else 0.5


def class_rows(classes: Sequence[str], table: ErrorTable, shown: ErrorTable, *, train: ErrorTable | None = None,
               train_counts=None) -> list[dict[str, Any]]:
    """A row a class: ``class``, ``train`` (boxes in the training set or None),
    ``val`` (boxes here), ``score`` (its AP at the tables' IoU), ``train_score`` (on
    training images, or None), ``precision``, ``recall``, ``F1`` of what is shown, and
    ``flag``: the score is below 0.3.
    """
    asked = np.bincount(table.target_label[~table.ignore], minlength=table.num_classes)
    scores, train_scores = _precisions(table), None if train is None else _precisions(train)
    hits = np.bincount(shown.label[shown.kind == HIT], minlength=len(classes))
    total = np.bincount(shown.label[shown.kind != IGNORED], minlength=len(classes))
    precision, recall, f1 = ratio(hits, total), ratio(hits, asked), ratio(2 * hits, (asked > 0) * (total + asked))
    return [{'class': name, 'train': None if train_counts is None else int(train_counts[i]), 'val': int(asked[i]),
             'score': float(scores[i]), 'train_score': None if train_scores is None else float(train_scores[i]),
             'precision': float(precision[i]), 'recall': float(recall[i]), 'F1': float(f1[i]),
             'flag': bool(scores[i] < LIMITS['weak'])} for i, name in enumerate(classes)]


def _precisions(table: ErrorTable) -> np.ndarray:
    counted = table.kind != IGNORED
    asked = np.bincount(table.target_label[~table.ignore], minlength=table.num_classes)
    return class_precisions(table.label[counted], table.score[counted], table.kind[counted] == HIT, asked)


def error_section(table: ErrorTable, shown: ErrorTable) -> dict[str, Any]:
    """``types``: for each type of error its ``count`` among what is shown, its
    ``share`` of all errors there, ``count_all`` among all detections and ``gain``,
    the mAP that mending would give; further ``mAP``, ``false_positive_gain`` and
    ``false_negative_gain``
    (:func:`cxrdet.core.detection.error_types.mending_gains`); and ``found_below``:
    boxes that are missed in what is shown and found by detections of a lower score;
    ``sure_background``: background detections with scores from 0.9 on.
    """
    gains, counts, everything = mending_gains(table), shown.counts(), table.counts()
    total = sum(counts.values())
    rows = [{'type': name, 'count': counts[name], 'share': counts[name] / total if total else float('nan'),
             'count_all': everything[name], 'gain': gains[name]} for name in ERROR_TYPES]
    return {'mAP': gains['mAP'], 'types': rows, 'false_positive_gain': gains['false_positive'],
            'false_negative_gain': gains['false_negative'], 'found_below': int((shown.missed & table.found).sum()),
            'sure_background': int((shown.score[shown.kind == ERROR_TYPES.index('background')] >= 0.9).sum())}


def size_sections(shown: ErrorTable, image_areas) -> dict[str, list[dict]]:
    """``absolute`` (COCO's 32^2 and 96^2 pixels) and ``relative`` (:data:`RELATIVE_EDGES` of the image) ranges, three
    rows each: ``size``, ``low``, ``high`` (square pixels, or share) and the columns of
    :func:`cxrdet.core.detection.error_types.errors_by_size`. ``image_areas``: (I,) square pixels.
    """
    areas = np.asarray(image_areas, np.float64)
    relative = shown._replace(area=shown.area / areas[shown.image] if len(areas) else shown.area,
                              target_area=shown.target_area / areas[shown.target_image] if len(areas)
                              else shown.target_area)
    sections = {}
    for name, table, edges in (('absolute', shown, (32. ** 2, 96. ** 2)), ('relative', relative, RELATIVE_EDGES)):
        rows = errors_by_size(table, edges=edges)
        sections[name] = [{'size': size, 'low': row['area'][0], 'high': row['area'][1]}
                          | {key: value for key, value in row.items() if key != 'area'}
                          for size, row in zip(SIZES, rows)]
    return sections


def detection_calibration(table: ErrorTable, shown: ErrorTable) -> dict[str, Any]:
    """Do scores tell the share of hits? :func:`cxrdet.core.diagnosis.calibration_section` of all detections, with the
    ``mean_score`` and ``share_right`` of those that are shown, and the number of all ``detections``.

    Source: F. Küppers et al., "Multivariate Confidence Calibration for Object
    Detection", CVPR Workshops 2020 (of the score alone).
    """
    counted, seen = table.kind != IGNORED, shown.kind != IGNORED
    means = (shown.score[seen].mean(), (shown.kind[seen] == HIT).mean()) if seen.any() else (np.nan, np.nan)
    return calibration_section(table.kind[counted] == HIT, table.score[counted]) | {
        'detections': int(counted.sum()), 'mean_score': float(means[0]), 'share_right': float(means[1])}


def worst_images(shown: ErrorTable, classes: Sequence[str], images: Sequence[str], *, most: int = 10) -> list[dict]:
    """Images with the most errors: ``image``, ``index``, ``errors``, ``types`` (number of each), ``F1`` and ``why``.

    An error is a detection that is no hit, or a box that was missed as
    :class:`ErrorTable` defines it, so that a badly placed detection and its box are one
    error. Of equally many errors, the lower F1 comes first.
    """
    hit, asks = (np.bincount(column, minlength=len(images)) for column in (
        shown.image[shown.kind == HIT], shown.target_image[~shown.ignore]))
    errors, unseen = np.flatnonzero(shown.kind >= 0), np.flatnonzero(shown.missed)
    places, lacks = shown.image[errors], shown.target_image[unseen]  # both rise
    rows = []
    for index in np.union1d(places, lacks).tolist():
        wrong = errors[np.searchsorted(places, index):np.searchsorted(places, index, side='right')]
        missed = unseen[np.searchsorted(lacks, index):np.searchsorted(lacks, index, side='right')]
        hits, asked = int(hit[index]), int(asks[index])
        types = np.bincount(shown.kind[wrong], minlength=len(ERROR_TYPES))
        types[ERROR_TYPES.index('missed')] = len(missed)
        rows.append({'image': str(images[index]), 'index': index, 'errors': int(types.sum()),
                     'types': dict(zip(ERROR_TYPES, types.tolist())), 'F1': 2 * hits / (hits + len(wrong) + asked),
                     'why': _why(shown, wrong, missed, classes)})
    return sorted(rows, key=lambda row: (-row['errors'], row['F1'], row['index']))[:most]


def _why(shown: ErrorTable, wrong: np.ndarray, missed: np.ndarray, classes: Sequence[str]) -> str:
    """'3 RBC missed; 2 RBC where nothing is (best 0.93)', the most frequent first."""
    texts: Counter = Counter()
    best: dict[str, float] = {}
    columns = (column[wrong].tolist() for column in (shown.kind, shown.label, shown.target, shown.score))
    for kind, own, target, score in zip(*columns):
        label, true = classes[own], classes[int(shown.target_label[target])] if target >= 0 else ''
        text = {'classification': f'{true} called {label}', 'localisation': f'{label} badly placed',
                'both': f'{label} badly placed on {true}', 'duplicate': f'{label} twice',
                'background': f'{label} where nothing is'}[ERROR_TYPES[kind]]
        texts[text] += 1
        best[text] = max(best.get(text, 0.), score)
    for own in shown.target_label[missed].tolist():
        texts[f'{classes[own]} missed'] += 1
    return '; '.join(f'{count} {text}' + (f' (score {best[text]:.2f})' if text in best and count == 1 else
                                          f' (up to {best[text]:.2f})' if text in best else '')
                     for text, count in texts.most_common())


def detection_findings(report: Mapping) -> list[dict]:
    """Findings from the sections of a detector's report."""
    found, total = [], sum(row['count'] for row in report['errors']['types'])
    texts = {'localisation': 'Boxes are badly placed (IoU 0.1 to 0.5 with their object)',
             'classification': 'Objects are found but given a wrong class',
             'both': 'Detections are both badly placed and of a wrong class', 'duplicate': 'Objects are reported twice',
             'background': 'Detections lie where no object is annotated', 'missed': 'Objects are missed'}
    for row in sorted(report['errors']['types'], key=lambda row: -np.nan_to_num(row['gain'])):
        if row['gain'] >= LIMITS['gain']:
            text = (f'{texts[row["type"]]}: {row["count"]} of {total} errors; without them mAP@0.5 would be '
                    f'{row["gain"]:.3f} higher.')
            if row['type'] == 'background' and report['errors']['sure_background']:
                text += (f' {report["errors"]["sure_background"]} have scores from 0.9 on: look first whether those '
                         'are objects that nobody annotated.')
            found.append(finding(row['type'], 'detection', text))
    missed, below = report['errors']['types'][ERROR_TYPES.index('missed')]['count'], report['errors']['found_below']
    if missed >= FEW and below > missed / 2:
        found.append(finding('found_below', 'detection', f'{below} of the {missed} missed boxes are found, but with '
                             f'scores below {report["score_thr"]:.2f}.', level='note'))
    return found + _size_findings(report) + _score_findings(report)


def _size_findings(report: Mapping) -> list[dict]:
    """The size that is found at least 0.1 less than all others together; relative sizes
    where absolute ones tell nothing.
    """
    for name, unit in (('absolute', ''), ('relative', ' (share of the image)')):
        rows = [row for row in report['by_size'][name] if row['boxes'] >= FEW]
        if len(rows) < 2:
            continue
        low = min(rows, key=lambda row: row['recall'])
        boxes, hits = (sum(row[key] for row in rows if row is not low) for key in ('boxes', 'found'))
        if hits / boxes - low['recall'] >= LIMITS['gap']:
            return [finding(f'{low["size"]}_boxes', 'detection', f'{low["size"].capitalize()} boxes{unit} are found '
                            f'less often: {low["found"]} of {low["boxes"]} ({low["recall"]:.0%}) against '
                            f'{hits / boxes:.0%} of the others.')]
        return []
    return []


def _score_findings(report: Mapping) -> list[dict]:
    part, found = report['calibration'], []
    if part['ece'] > LIMITS['ece']:
        mean = np.array([(row['mean_score'], row['share_right'], row['count']) for row in part['bins'] if row['count']])
        over = (mean[:, 0] - mean[:, 1]) @ mean[:, 2] > 0
        found.append(finding('overconfident' if over else 'underconfident', 'detection', 'Scores are not the share of '
                             f'right detections: they are too {"high" if over else "low"}, expected calibration error '
                             f'{part["ece"]:.3f} (limit {LIMITS["ece"]:g}). A temperature of {part["temperature"]:.2f} '
                             f'would leave {part["ece_after"]:.3f}.'))
    best, usual = report['best_score_thr'], report['default_score']
    if best['F1'] - usual['F1'] >= LIMITS['gain']:
        found.append(finding('score_threshold', 'detection', f'The best F1, {best["F1"]:.3f}, is at scores from '
                             f'{best["score"]:.2f}; at {usual["score"]:.2f}, the default of cxrdet predict, it '
                             f'is {usual["F1"]:.3f}.', level='note'))
    return found
