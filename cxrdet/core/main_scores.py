"""The few scores that a model is known by, with percentile intervals over resampled images or patients.

Every draw takes whole groups with replacement and computes the score anew; a mean over
classes is taken draw by draw, over the classes that have a value there. Source of the
intervals: B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993. A score is
a dict of ``name``, ``value``, ``low``, ``high``, NaN where not defined; ``groups`` are
the (N,) patients of the images, None: each image for itself.
"""
from collections.abc import Iterator

import numpy as np

from cxrdet.core.bootstrap import draws_of_groups, percentile_interval
from cxrdet.core.bootstrap_curves import bootstrap_average_precision, bootstrap_recall
from cxrdet.core.classification.confusion import class_report, confusion_matrix
from cxrdet.core.classification.multilabel import Counts, average_precision, confusion, rates
from cxrdet.core.classification.roc import auroc, bootstrap_areas, last_of_ties
from cxrdet.core.detection.average_precision import IOUS, precisions_by_overlap
from cxrdet.core.detection.froc import froc, froc_interval
from cxrdet.core.detection.matching import LesionTable, Pairing
from cxrdet.core.rates import mean_of_known, ratio


def detection_scores(pairing: Pairing, *, score_thr: float, groups=None, samples: int = 200,
                     seed: int = 0) -> tuple[list[dict], list[dict]]:
    """Scores of a detector: mAP, mAP at IoU 0.5 and 0.75, FROC, and precision, recall
    and F1 of boxes from ``score_thr`` on; and a dict a class with ``AP``, ``AP_low``,
    ``AP_high``, ``AP50``, ``AP50_low``, ``AP50_high``.

    Args:
        pairing: of the set; all its detections count.
        score_thr: lowest score of what precision, recall and F1 are of.
        groups: (I,) patient of each image; None: each image for itself.
        samples, seed: draws of the bootstrap, their seed.

    Returns: the scores, each ``name``, ``value``, ``low``, ``high`` (NaN where not defined), and
        the dicts of the classes.
    """
    values, first = precisions_by_overlap(pairing), pairing.lesions()
    draws = bootstrap_average_precision([pairing.lesions(iou) for iou in IOUS], groups=groups, samples=samples,
                                        seed=seed)
    scores = [_score(name, mean_of_known(values[rows].mean(axis=0)), _row_means(draws[:, rows].mean(axis=1)))
              for name, rows in (('mAP', slice(None)), ('mAP at IoU 0.5', [0]), ('mAP at IoU 0.75', [5]))]
    ends = percentile_interval(draws.mean(axis=1)), percentile_interval(draws[:, 0])
    by_class = [{'AP': values[:, i].mean(), 'AP_low': ends[0][0][i], 'AP_high': ends[0][1][i],
                 'AP50': values[0, i], 'AP50_low': ends[1][0][i], 'AP50_high': ends[1][1][i]}
                for i in range(pairing.classes)]
    whole = froc_interval(first.scores, first.hits, first.image, first.lesions.sum(axis=1), groups=groups,
                          samples=samples, seed=seed)
    scores.append(dict(name='FROC', low=whole.mean_low, high=whole.mean_high, value=froc(
        first.scores, first.hits, max(pairing.images, 1), int(first.lesions.sum())).mean))
    return scores + _rates_of_boxes(first, score_thr, groups, samples, seed), by_class


def detection_intervals(pairing: Pairing, *, samples: int = 200, groups=None,
                        seed: int = 0) -> dict[str, np.ndarray]:
    """95 % intervals of ``mAP``, ``mAP_50`` (at IoU 0.5) and ``AR``: (C + 1, 2) lower and upper ends, of the mean over
    the classes and then of each class; NaN where not defined.

    AR is the recall that all detections reach, averaged over the overlaps of mAP. Arguments are those of
    :func:`detection_scores`.
    """
    tables = [pairing.lesions(iou) for iou in IOUS]
    precision = bootstrap_average_precision(tables, groups=groups, samples=samples, seed=seed)
    recall = bootstrap_recall(tables, groups=groups, samples=samples, seed=seed)
    parts = {'mAP': precision.mean(axis=1), 'mAP_50': precision[:, 0], 'AR': recall.mean(axis=1)}
    return {name: np.stack(percentile_interval(np.column_stack([_row_means(draws), draws])), axis=1)
            for name, draws in parts.items()}


def multi_label_scores(y_true, y_prob, thresholds, use, *, findings=None, groups=None, samples: int = 200,
                       seed: int = 0) -> list[dict]:
    """Scores of a multi-label classifier: means over classes of AUROC, average
    precision, and, at the thresholds, sensitivity, specificity and F1.

    Args:
        y_true, y_prob: (N, C) labels 1, 0 or NaN, and probabilities.
        thresholds: (C,) lowest probability of a positive decision.
        use: (C,) bool, classes that the means are over.
        findings: (C,) bool; the mean AUROC over those of them that are in ``use`` is given, too.

    ``groups`` (N,), ``samples``, ``seed`` and the scores are as for :func:`detection_scores`.
    """
    true, prob = np.asarray(y_true, np.float64), np.asarray(y_prob, np.float64)
    use = np.asarray(use, bool)
    areas = bootstrap_areas(true, prob, groups=groups, samples=samples, seed=seed)
    means = {'mean AUROC': use} | ({} if findings is None else {'AUROC of findings': use & findings})
    scores = [*(_score(name, mean_of_known(auroc(true, prob), part), _row_means(areas[:, part]))
                for name, part in means.items()),
              _score('mean AP', mean_of_known(average_precision(true, prob), use),
                     _row_means(_precision_draws(true[:, use], prob[:, use], groups, samples, seed)))]
    at = rates(confusion(true, prob, thresholds))
    call = prob >= np.asarray(thresholds, np.float64)
    masks = [(true == 1) & call, (true == 0) & call, (true == 1) & ~call, (true == 0) & ~call]
    counts = [np.concatenate([np.zeros((0, true.shape[1])), *(weights @ mask.astype(np.float64) for weights in
                                                              _draws(len(true), groups, samples, seed))])
              for mask in masks]
    drawn = rates(Counts(*counts))
    for name, key in (('mean sensitivity', 'recall'), ('mean specificity', 'specificity'), ('mean F1', 'f1')):
        scores.append(_score(name, mean_of_known(getattr(at, key), use), _row_means(getattr(drawn, key)[:, use])))
    return scores


def single_label_scores(y_true, y_prob, *, groups=None, samples: int = 200, seed: int = 0) -> list[dict]:
    """Scores of a single-label classifier: accuracy, balanced accuracy, mean F1
    and mean AUROC of one against all. ``y_true``: (N, C), a single 1 a row;
    ``y_prob``: (N, C) probabilities.

    ``groups`` (N,), ``samples``, ``seed`` and the scores are as for :func:`detection_scores`.
    """
    true, prob = np.asarray(y_true, np.float64), np.asarray(y_prob, np.float64)
    number = true.shape[1]
    label, called = true.argmax(axis=1), prob.argmax(axis=1)
    report, drawn = class_report(confusion_matrix(label, called, number)), []
    for weights in _draws(len(true), groups, samples, seed):
        for row in weights:
            cells = np.bincount(label * number + called, weights=row, minlength=number ** 2)
            again = class_report(cells.reshape(number, number).astype(np.int64))
            drawn.append((again.accuracy, again.balanced_accuracy, again.macro_f1))
    drawn = np.array(drawn).reshape(-1, 3)
    areas = bootstrap_areas(true, prob, groups=groups, samples=samples, seed=seed)
    return [_score('accuracy', report.accuracy, drawn[:, 0]),
            _score('balanced accuracy', report.balanced_accuracy, drawn[:, 1]),
            _score('mean F1', report.macro_f1, drawn[:, 2]),
            _score('mean AUROC', mean_of_known(auroc(true, prob)), _row_means(areas))]


def _rates_of_boxes(table: LesionTable, score_thr: float, groups, samples: int, seed: int) -> list[dict]:
    shown, images = table.scores >= score_thr, len(table.lesions)
    hits, total = (np.bincount(table.image[mask], minlength=images).astype(np.float64)
                   for mask in (shown & table.hits, shown))
    sums = np.stack([hits, total, table.lesions.sum(axis=1)], axis=1)
    drawn = np.concatenate([sums.sum(axis=0)[None], *(
        weights @ sums for weights in _draws(images, groups, samples, seed))])
    found, told, asked = drawn.T
    parts = {'precision': (found, told), 'recall': (found, asked), 'F1': (2 * found, told + asked)}
    values = {name: ratio(*pair) for name, pair in parts.items()}
    return [_score(f'{name} at score {score_thr:.2f}', column[0], column[1:]) for name, column in values.items()]


def _precision_draws(true: np.ndarray, prob: np.ndarray, groups, samples: int, seed: int) -> np.ndarray:
    columns = []
    for i in range(true.shape[1]):
        rows = np.flatnonzero(~np.isnan(true[:, i]))
        rows = rows[np.argsort(-prob[rows, i], kind='stable')]
        last = last_of_ties(prob[rows, i])
        values = [np.zeros(0)]
        for weights in _draws(len(true), groups, samples, seed):
            found = np.cumsum(weights[:, rows] * true[rows, i], axis=1)[:, last]
            told = np.cumsum(weights[:, rows], axis=1)[:, last]
            precision = np.divide(found, told, out=np.zeros(found.shape), where=told > 0)
            gain = np.diff(found, axis=1, prepend=0)
            total = found[:, -1] if len(last) else np.zeros(len(weights))
            values.append(ratio((gain * precision).sum(axis=1), total))
        columns.append(np.concatenate(values))
    return np.stack(columns, axis=1) if columns else np.zeros((samples, 0))


def _draws(rows: int, groups, samples: int, seed: int) -> Iterator[np.ndarray]:
    """(up to 50 draws, rows) float64."""
    for draws in draws_of_groups(rows, groups=groups, samples=samples, seed=seed):
        yield draws.T.astype(np.float64)


def _row_means(draws: np.ndarray) -> np.ndarray:
    """Mean over the classes of each draw, (samples,)."""
    return np.array([mean_of_known(draw) for draw in draws])


def _score(name: str, value: float, draws: np.ndarray) -> dict:
    low, high = percentile_interval(draws)
    return dict(name=name, value=float(value), low=float(low), high=float(high))
