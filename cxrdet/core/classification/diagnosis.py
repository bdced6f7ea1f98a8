"""Sections of the diagnosis of a classifier, from labels and probabilities of its images, both (N, C).

Labels are 1, 0 or NaN (unknown); those of a single-label classifier have one 1 a row.
"""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cxrdet.core.classification.calibration import calibration_error, fit_softmax_temperature
from cxrdet.core.classification.confounding import confounded_labels
from cxrdet.core.classification.confusion import class_report, confusion_matrix
from cxrdet.core.classification.multilabel import average_precision, confusion, rates
from cxrdet.core.classification.roc import AurocInterval, auroc, auroc_interval
from cxrdet.core.diagnosis import FEW, LIMITS, calibration_section, finding, listed

#: The limit 0.3 of a class's score for 2 AUROC - 1.
WEAK_AUROC = (1 + LIMITS['weak']) / 2


def multi_label_fit(classes: Sequence[str], true, prob, train_true=None, train_prob=None) -> dict[str, Any]:
    """``train`` and ``val``: the mean AUROC over the same classes, named in ``over``:
    those with at least 10 positives and 10 negatives in validation (of all that have
    both where there is none), and with both in training.
    """
    areas, positives = auroc(true, prob), np.nansum(true, axis=0)
    trained = auroc(train_true, train_prob) if train_true is not None else None
    use = ~np.isnan(areas) & (True if trained is None else ~np.isnan(trained))
    many = use & (positives >= FEW) & ((np.asarray(true) == 0).sum(axis=0) >= FEW)
    use = many if many.any() else use
    return {'val': float(areas[use].mean()) if use.any() else float('nan'),
            'train': None if trained is None else float(trained[use].mean()) if use.any() else float('nan'),
            'over': [name for name, used in zip(classes, use) if used]}


def single_label_fit(true, prob, train_true=None, train_prob=None) -> dict[str, Any]:
    """``train`` and ``val``: the share of images whose most probable class is theirs."""
    return {'val': class_report(_matrix(true, prob)).accuracy,
            'train': None if train_true is None else class_report(_matrix(train_true, train_prob)).accuracy}


def label_rows(classes: Sequence[str], true, prob, thresholds, *, interval: AurocInterval | None = None,
               train_true=None, train_prob=None, train_counts=None) -> list[dict[str, Any]]:
    """A row a class of a multi-label classifier: ``class``, ``train`` and ``val``
    (positive images), ``score`` (AUROC), ``low`` and ``high`` (its 95 % ``interval``,
    by default for images without patients), ``train_score``, ``AP``, ``threshold`` and,
    by it, ``sensitivity``, ``specificity``, ``precision``, ``tp``, ``fp``, ``fn``,
    ``tn``; ``ece``; ``flag``: the AUROC is below 0.65.
    """
    areas, (low, high, *_) = auroc(true, prob), interval or auroc_interval(true, prob)
    trained = None if train_true is None else auroc(train_true, train_prob)
    counts = confusion(true, prob, thresholds)
    at, ap, ece = rates(counts), average_precision(true, prob), calibration_error(true, prob)
    return [{'class': name, 'train': None if train_counts is None else int(train_counts[i]),
             'val': int((np.asarray(true)[:, i] == 1).sum()), 'score': float(areas[i]), 'low': float(low[i]),
             'high': float(high[i]), 'train_score': None if trained is None else float(trained[i]), 'AP': float(ap[i]),
             'threshold': float(thresholds[i]), 'sensitivity': float(at.recall[i]),
             'specificity': float(at.specificity[i]), 'precision': float(at.precision[i]),
             **{key: int(getattr(counts, key)[i]) for key in ('tp', 'fp', 'fn', 'tn')}, 'ece': float(ece[i]),
             'flag': bool(areas[i] < WEAK_AUROC)} for i, name in enumerate(classes)]


def single_label_rows(classes: Sequence[str], true, prob, *, train_true=None, train_prob=None,
                      train_counts=None) -> tuple[list[dict[str, Any]], np.ndarray]:
    """A row a class, and the confusion matrix (C, C): ``class``, ``train``, ``val``
    (images), ``score`` (its accuracy: the share of its images that are called by its
    name), ``train_score``, ``precision``, ``F1``, ``AUROC`` (against all others) and
    ``flag``: the score is below 0.3.
    """
    matrix = _matrix(true, prob)
    report, areas = class_report(matrix), auroc(true, prob)
    trained = None if train_true is None else class_report(_matrix(train_true, train_prob)).recall
    rows = [{'class': name, 'train': None if train_counts is None else int(train_counts[i]),
             'val': int(report.support[i]), 'score': float(report.recall[i]),
             'train_score': None if trained is None else float(trained[i]), 'precision': float(report.precision[i]),
             'F1': float(report.f1[i]), 'AUROC': float(areas[i]), 'flag': bool(report.recall[i] < LIMITS['weak'])}
            for i, name in enumerate(classes)]
    return rows, matrix


def _matrix(true, prob) -> np.ndarray:
    true, prob = np.asarray(true), np.asarray(prob)
    return confusion_matrix(true.argmax(axis=1), prob.argmax(axis=1), true.shape[1])


def single_label_calibration(true, prob) -> dict[str, Any]:
    """:func:`cxrdet.core.diagnosis.calibration_section` of the most probable class of
    each image: is it right as often as it says? (C. Guo et al., "On calibration of
    modern neural networks", ICML 2017).
    """
    true, prob = np.asarray(true, np.float64), np.asarray(prob, np.float64)
    if not len(true):
        return calibration_section([], [])
    label, logits = true.argmax(axis=1), np.log(np.maximum(prob, 2. ** -149))
    temperature = fit_softmax_temperature(label, logits)
    scaled = np.exp(logits / temperature)
    return calibration_section(label == prob.argmax(axis=1), prob.max(axis=1), temperature=temperature,
                               after=(scaled / scaled.sum(axis=1, keepdims=True)).max(axis=1))


def wrong_calls(classes: Sequence[str], true, prob, images: Sequence[str], *, most: int = 10) -> dict[str, list[dict]]:
    """The worst calls of a multi-label classifier: ``false_alarms`` and ``misses``,
    each entry with ``image``, ``index``, ``class``, ``probability``, ``usual`` (share
    of the judged images that have the finding) and ``excess``.

    ``excess`` is the cross-entropy of the call minus that of saying ``usual`` of every
    image, in nats: 0.03 is no bad call of a finding that 3 % of the images have, even
    where it is there. Entries with an excess above 0 only.
    """
    true, prob = np.asarray(true, np.float64), np.asarray(prob, np.float64)
    excess, usual = _excess(true, prob)
    calls = {}
    for name, label in (('false_alarms', 0), ('misses', 1)):
        rows, columns = np.nonzero((true == label) & (excess > 0))
        order = np.argsort(-excess[rows, columns], kind='stable')[:most]
        calls[name] = [{'image': str(images[i]), 'index': int(i), 'class': classes[j], 'probability': float(prob[i, j]),
                        'usual': float(usual[j]), 'excess': float(excess[i, j])}
                       for i, j in zip(rows[order], columns[order])]
    return calls


def _excess(true: np.ndarray, prob: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, C) cross-entropy beyond that of the share of positives, and that share, (C,)."""
    known = ~np.isnan(true)
    usual = ((true == 1).sum(axis=0) + 1) / (known.sum(axis=0) + 2)  # Laplace's rule: never 0 or 1
    own = np.clip(np.where(true == 1, prob, 1 - prob), 2. ** -25, 1)
    return np.where(known, np.log(np.where(true == 1, usual, 1 - usual)) - np.log(own), 0), usual


def wrong_images(classes: Sequence[str], true, prob, images: Sequence[str], *, single: bool,
                 most: int = 10) -> list[dict]:
    """The worst images: ``image``, ``index``, ``errors``, ``loss`` and ``why``.

    Single-label: the wrong ones, those first whose own class has the least
    probability; ``loss`` is its negative logarithm, ``errors`` 1. Multi-label:
    ``errors`` is the number of calls with an excess (:func:`wrong_calls`) of
    0.5 or more, ``loss`` their sum.
    """
    true, prob = np.asarray(true, np.float64), np.asarray(prob, np.float64)
    rows = _single_rows(classes, true, prob) if single else _multi_rows(classes, true, prob)
    rows = sorted(rows, key=lambda row: (-row['loss'], row['index']))[:most]
    return [{'image': str(images[row['index']])} | row for row in rows]


def _single_rows(classes: Sequence[str], true: np.ndarray, prob: np.ndarray) -> list[dict]:
    rows = []
    for i in range(len(true)):
        own, called = int(true[i].argmax()), int(prob[i].argmax())
        if own != called:
            rows.append({'index': i, 'errors': 1, 'loss': float(-np.log(max(prob[i, own], 2. ** -149))),
                         'why': f'{classes[own]} ({prob[i, own]:.2f}) called {classes[called]} '
                                f'({prob[i, called]:.2f})'})
    return rows


def _multi_rows(classes: Sequence[str], true: np.ndarray, prob: np.ndarray) -> list[dict]:
    excess, rows = _excess(true, prob)[0], []
    for i in range(len(true)):
        wrong = [j for j in np.argsort(-excess[i], kind='stable') if excess[i, j] >= 0.5]
        if wrong:
            words = [f'{classes[j]} {"present" if true[i, j] == 1 else "absent"}, but {_shown(prob[i, j])}'
                     for j in wrong]
            rows.append({'index': i, 'errors': len(wrong), 'loss': float(excess[i, wrong].sum()),
                         'why': '; '.join(words)})
    return rows


def _shown(prob: float) -> str:
    return f'{prob:.2f}' if prob >= 0.01 else f'{prob:.1g}'


def confounding(classes: Sequence[str], name: str, labels, values: Sequence[str], true, prob,
                shown: Sequence[str] | np.ndarray) -> list[dict[str, Any]]:
    """Labels that go with a fact about the images, for example the view: could the model read the one for the other?

    Args:
        classes: C names.
        name: of the fact.
        labels, values: (M, C) of all images that are known, training included, and the
            fact of each, ``''`` for unknown.
        true, prob, shown: labels and probabilities (N, C) of the judged images, and their facts.

    Returns: for each label with a Cramér's V of 0.1 or more: ``fact``,
        ``class``, ``V``, ``shares`` (share of positives by value),
        ``fact_alone`` (AUROC on the judged images of knowing nothing but the
        fact), ``AUROC`` of the model and ``within`` (its mean within the values,
        weighted by pairs of positive and negative images).
    """
    labels, true, prob = (np.asarray(array, np.float64) for array in (labels, true, prob))
    shown = np.asarray(shown, dtype=object)
    rows = []
    for label, value, shares in confounded_labels(labels == 1, values):
        known = np.array([fact in shares for fact in shown], bool) & ~np.isnan(true[:, label])
        own, score, facts = true[known, label], prob[known, label], shown[known]
        alone = auroc(own, np.array([shares[fact] for fact in facts], np.float64))[0] if known.any() else np.nan
        rows.append({'fact': name, 'class': classes[label], 'V': float(value), 'shares': shares,
                     'fact_alone': float(alone), 'AUROC': float(auroc(own, score)[0]) if known.any() else float('nan'),
                     'within': _within(own, score, facts)})
    return rows


def _within(true: np.ndarray, score: np.ndarray, facts: np.ndarray) -> float:
    total, pairs = 0., 0
    for fact in sorted(set(facts)):
        mine = facts == fact
        number = int((true[mine] == 1).sum() * (true[mine] == 0).sum())
        if number:
            total, pairs = total + float(auroc(true[mine], score[mine])[0]) * number, pairs + number
    return total / pairs if pairs else float('nan')


def _calibration_findings(part: Mapping, task: str) -> list[dict]:
    if not part['ece'] > LIMITS['ece']:
        return []
    ece, ends = f'expected calibration error {part["ece"]:.3f} (limit {LIMITS["ece"]:g})', f'{part["ece_after"]:.3f}'
    if task == 'multi-label' and abs(part['mean_score'] - part['share_right']) > LIMITS['ece'] / 2:
        return [finding('shifted', task, f'The probabilities are shifted: {part["mean_score"]:.3f} on average, while '
                        f'{part["share_right"]:.3f} of the labels are positive; {ece}. Weights of the positives and '
                        f'the focal loss do that, and a temperature mends little of it (it would leave {ends}).')]
    over = part['mean_score'] > part['share_right'] if task == 'single-label' else part['temperature'] > 1
    return [finding('overconfident' if over else 'underconfident', task, f'The probabilities are '
                    f'{"too sure" if over else "not sure enough"}: {ece}. A temperature of {part["temperature"]:.2f} '
                    f'would leave {ends}.')]


def classifier_findings(report: Mapping, task: str) -> list[dict]:
    """Findings from the sections of a classifier's report."""
    found = _calibration_findings(report['calibration'], task)
    numbers = {row['class']: row['val'] for row in report['per_class']}
    for row in report['confounding']:
        if numbers[row['class']] < FEW:
            continue
        shares = ', '.join(f'{value} {share:.0%}' for value, share in row['shares'].items())
        leans = row['AUROC'] - row['within'] > LIMITS['gap'] / 2
        text = (f'{row["class"]} goes with the {row["fact"]} ({shares}; Cramér\'s V {row["V"]:.2f}). The {row["fact"]} '
                f'alone gives an AUROC of {row["fact_alone"]:.3f}; the model has {row["AUROC"]:.3f}, and among images '
                f'of the same {row["fact"]} {row["within"]:.3f}')
        text += ': part of its score may be the ' + row['fact'] + '.' if leans else ', so it hardly leans on it.'
        found.append(finding('confounded', task, text, level='problem' if leans else 'note', classes=[row['class']]))
    most = [row for row in report['confusions'] if row['count'] >= 3 and row['share'] >= LIMITS['gap']]
    if most:
        text = '; '.join(f'{row["true"]} called {row["predicted"]} {row["count"]} times ({row["share"]:.0%} of its '
                         'images)' for row in most[:3])
        found.append(finding('confusion', task, f'Frequent confusions: {text}.'))
    idle = [row['class'] for row in report['per_class'] if task == 'multi-label' and not row['tp'] + row['fp']]
    if idle:
        found.append(finding('never_called', task, f'Never called present: {listed(idle, 8)} (decided by '
                             f'{report["operating_point"]}).', level='note', classes=idle))
    return found
