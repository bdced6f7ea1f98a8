"""The diagnosis of a trained model: a dict of dicts, lists, strings and numbers, None for what is NaN or infinite.

- ``task``: 'detection', 'multi-label' or 'single-label'; ``classes``; ``split``: 'val'
  or 'test'; ``images``: 'train' (or None) and the split -> {'total', 'judged'};
- ``fit``: ``metric``, its values ``train`` and ``val`` on the same classes (``over``),
  ``gap``, ``low`` (limit of the training value), ``verdict``, ``split``, ``more``
  (further scores: name -> {'train', 'val'});
- ``imbalance``: :func:`cxrdet.core.classification.labels.imbalance`, with
  ``of`` ('boxes' or 'images'), ``part`` ('training', or the split without
  training images) and ``counts``;
- ``per_class``: rows with at least ``class``, ``train``, ``val`` (numbers), ``score``
  (``score_name`` says which), ``train_score``, ``flag``: ``class_rows``, ``label_rows``
  or ``single_label_rows`` of the two ``diagnosis`` modules;
- ``confusion``: {'labels', 'matrix', 'rows': 'true', 'columns': 'predicted'},
  of a detector with 'background' last, or None (multi-label), and
  ``confusions``: the most common ones;
- ``calibration``: :func:`cxrdet.core.diagnosis.calibration_section`; ``quality``: the
  annotations of the training set, as given; ``flags``:
  :func:`cxrdet.core.diagnosis.flags_of`;
- ``worst``: [{'image' (path), 'index' (place in ``judged.records``), 'errors', 'why', …}], the worst first;
- ``findings``: [{'code', 'level' ('problem' or 'note'), 'text', 'classes', 'advice'}], problems first.

Of a detector also ``score_thr`` (all counts are of detections from this score on),
``score_curve``, its rows ``best_score_thr``, ``default_score`` and ``operating`` at the
best F1, at 0.3 and at ``score_thr``, ``errors`` and ``by_size``
(:mod:`cxrdet.core.detection.diagnosis`). Of a classifier ``confounding`` and,
multi-label, ``operating_point`` (how it is decided), ``interval`` (of the AUROC) and
``wrong_calls`` (:mod:`cxrdet.core.classification.diagnosis`).
"""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cxrdet.core.classification import diagnosis as for_classes
from cxrdet.core.classification.confusion import frequent_confusions
from cxrdet.core.classification.labels import NO_FINDING, imbalance
from cxrdet.core.classification.operating_points import read_points
from cxrdet.core.classification.roc import auroc_interval
from cxrdet.core.detection import diagnosis as for_boxes
from cxrdet.core.detection.average_precision import precisions_by_overlap
from cxrdet.core.detection.error_types import confusion_table, error_table
from cxrdet.core.diagnosis import (
    LIMITS,
    calibration_section,
    fit_findings,
    fit_verdict,
    flags_of,
    imbalance_findings,
    plain,
    quality_findings,
    weak_findings,
)
from cxrdet.core.predictions import Collected
from cxrdet.core.rates import mean_of_known

PREDICT_SCORE = 0.3  # the default of cxrdet predict


def diagnosis_of(judged: Collected, train: Collected | None = None, *, points: Mapping | None = None,
                 source: str = '', score_thr: float | None = None, worst: int = 10,
                 quality: Mapping | None = None) -> dict[str, Any]:
    """What is wrong with a model, from what it predicts: the dict that the head of this module describes.

    Args:
        judged: the images that its scores are of.
        train: training images to compare with; None: over- and underfitting are not judged.
        points: multi-label: the content ``operating_points`` of the checkpoint, None: 0.5 decides.
        source: name of the checkpoint, in errors.
        score_thr: detectors: lowest score of a detection that is shown. None: the one of the best F1.
        worst: how many of the worst images are named.
        quality: :func:`cxrdet.core.annotation_quality.annotation_quality` of the training set.

    Returns: plain dicts, lists, strings and numbers, None for what is not defined (NaN) or infinite.
    Raises: CheckpointError if ``points`` cannot be used.
    """
    report: dict[str, Any] = {
        'task': judged.task, 'classes': list(judged.classes), 'split': judged.split,
        'images': {'train': None if train is None else _numbers(train), judged.split: _numbers(judged)},
        'imbalance': _imbalance(judged, train)}
    report |= (_detection(judged, train, score_thr, worst) if judged.task == 'detection'
               else _classification(judged, train, points, source, worst))
    limit = for_classes.WEAK_AUROC if judged.task == 'multi-label' else LIMITS['weak']
    report |= {'quality': quality, 'flags': flags_of(report['fit'], report['imbalance'], quality)}
    found = quality_findings(quality, judged.task) + fit_findings(report['fit'], judged.task) + imbalance_findings(
        report['imbalance'], report['per_class'], judged.task, report['score_name'])
    found += weak_findings(report['per_class'], judged.task, report['score_name'], limit=limit)
    found += (for_boxes.detection_findings(report) if judged.task == 'detection'
              else for_classes.classifier_findings(report, judged.task))
    report['findings'] = sorted(found, key=lambda item: item['level'] != 'problem')
    return plain(report)


def _numbers(part: Collected) -> dict[str, int]:
    return {'total': part.total, 'judged': len(part.records)}


def _fit(metric: str, split: str, values: dict, *, chance: float = 0., more: dict | None = None) -> dict[str, Any]:
    train, val = values['train'], values['val']
    return {'metric': metric, 'split': 'validation' if split == 'val' else split, **values,
            'gap': None if train is None else train - val, 'low': chance + LIMITS['low'] * (1 - chance),
            'verdict': fit_verdict(train, val, chance=chance), 'more': more or {}}


def _imbalance(judged: Collected, train: Collected | None) -> dict[str, Any]:
    part = judged if train is None else train
    return {'of': 'boxes' if judged.task == 'detection' else 'images',
            'part': 'training' if train is not None else 'validation' if judged.split == 'val' else judged.split,
            'counts': dict(zip(judged.classes, part.counts.tolist()))} | imbalance(judged.classes, part.counts)


def _detection(judged: Collected, train: Collected | None, score_thr: float | None, worst: int) -> dict[str, Any]:
    classes, table = judged.classes, error_table(judged.pairing)
    trained = {} if train is None else {'train': error_table(train.pairing), 'train_counts': train.counts}
    curve = for_boxes.score_curve(table)
    best = for_boxes.best_score(curve)
    score_thr = best if score_thr is None else score_thr
    shown = table.from_score(score_thr)
    rows = for_boxes.class_rows(classes, table, shown, **trained)
    both = [row for row in rows if not np.isnan(row['score']) and not np.isnan(row['train_score'] or 0.)]
    coco = {name: None if part is None else mean_of_known(precisions_by_overlap(part.pairing).mean(axis=0))
            for name, part in (('train', train), ('val', judged))}
    images = [record['image'] for record in judged.records]
    areas = [record['width'] * record['height'] for record in judged.records]
    near = {round(row['score'], 2): row for row in curve}
    return {'score_name': 'AP@0.5', 'per_class': rows, 'score_thr': score_thr, 'score_curve': curve,
            'fit': _fit('mAP@0.5', judged.split, _means(both, train) | {'over': [row['class'] for row in both]},
                        more={'mAP@0.5:0.95': coco}),
            'best_score_thr': near[round(best, 2)], 'default_score': near[PREDICT_SCORE],
            'operating': for_boxes.score_curve(table, [score_thr])[0],
            'errors': for_boxes.error_section(table, shown), 'by_size': for_boxes.size_sections(shown, areas),
            **_confusions(confusion_table(judged.pairing, score_thr=score_thr), classes, [*classes, 'background']),
            'worst': for_boxes.worst_images(shown, classes, images, most=worst),
            'calibration': for_boxes.detection_calibration(table, shown)}


def _classification(judged: Collected, train: Collected | None, points: Mapping | None, source: str,
                    worst: int) -> dict[str, Any]:
    classes, true, prob = judged.classes, judged.matrix('truth'), judged.matrix('probabilities')
    known = {} if train is None else {'train_true': train.matrix('truth'), 'train_prob': train.matrix('probabilities')}
    trained = known if train is None else known | {'train_counts': train.counts}
    images, single = [record['image'] for record in judged.records], judged.task == 'single-label'
    part = {'confounding': _confounding(judged, train),
            'worst': for_classes.wrong_images(classes, true, prob, images, single=single, most=worst)}
    if single:
        rows, matrix = for_classes.single_label_rows(classes, true, prob, **trained)
        values = for_classes.single_label_fit(true, prob, **known) | {'over': list(classes)}
        return part | {'score_name': 'accuracy', 'per_class': rows, **_confusions(matrix, classes, classes),
                       'fit': _fit('accuracy', judged.split, values, more={'balanced accuracy': _means(rows, train)}),
                       'calibration': for_classes.single_label_calibration(true, prob)}
    decided_by, thresholds = _thresholds(judged, points, source)
    values, interval = for_classes.multi_label_fit(classes, true, prob, **known), auroc_interval(
        true, prob, groups=judged.groups())
    rows = for_classes.label_rows(classes, true, prob, thresholds, interval=interval, **trained)
    of = [row for row in rows if row['class'] in values['over'] and row['class'] != NO_FINDING]
    more = {'AUROC of findings': _means(of, train)} if NO_FINDING in classes else {}
    return part | {'score_name': 'AUROC', 'per_class': rows, 'confusion': None, 'confusions': [],
                   'fit': _fit('mean AUROC', judged.split, values, chance=0.5, more=more),
                   'operating_point': decided_by,
                   'interval': {'method': interval.method, 'about': interval.about},
                   'calibration': calibration_section(true, prob),
                   'wrong_calls': for_classes.wrong_calls(classes, true, prob, images, most=worst)}


def _means(rows: Sequence[Mapping], train: Collected | None) -> dict[str, float | None]:
    return {'train': None if train is None else mean_of_known([row['train_score'] for row in rows]),
            'val': mean_of_known([row['score'] for row in rows])}


def _confusions(matrix: np.ndarray, classes: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    return {'confusion': {'labels': list(labels), 'matrix': matrix, 'rows': 'true', 'columns': 'predicted'},
            'confusions': frequent_confusions(matrix, classes)}


def _thresholds(judged: Collected, content: Mapping | None, source: str) -> tuple[str, np.ndarray]:
    if content is None:
        return '0.5 for every class: the checkpoint stores no operating points', np.full(len(judged.classes), 0.5)
    points = read_points(content, judged.classes, source)
    name, thresholds = points.pick()
    rosy = ', so that rates on validation are a little too good' if judged.split == 'val' else ''
    return (f'operating point "{name}" ({points.rules[name]}) of the checkpoint, chosen on {points.images} validation '
            f'images{rosy}', np.where(np.isnan(thresholds), 0.5, thresholds))


def _confounding(judged: Collected, train: Collected | None) -> list[dict]:
    parts = [judged] if train is None else [train, judged]
    labels, rows = np.concatenate([part.labels for part in parts]), []
    for name in ('view', 'sex'):
        values = [str(facts.get(name) or '') for part in parts for facts in part.facts]
        shown = [str(record['facts'].get(name) or '') for record in judged.records]
        rows += for_classes.confounding(judged.classes, name, labels, values, judged.matrix('truth'),
                                        judged.matrix('probabilities'), shown)
    return sorted(rows, key=lambda row: -row['V'])
