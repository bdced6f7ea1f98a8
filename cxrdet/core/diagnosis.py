"""What is wrong with a trained model: rules that turn its scores into findings.

The limits of fit, classes and imbalance are those of our cell detector, for scores that
are 0 for a useless model and 1 for a perfect one. Where a limit is no difference of
scores, 2 AUROC - 1 (Gini's coefficient) is held to it.
"""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cxrdet.core.advice import advice_for
from cxrdet.core.classification.calibration import (
    calibration_bins,
    calibration_error,
    fit_temperature,
    scale,
    to_logit,
)

#: gap: train minus validation, above it a model overfits; low: a training score below it is underfitting; weak: scores
#: of classes below it are flagged; ratio: largest class over smallest; ece: expected calibration error; gain: of mAP.
LIMITS = {'gap': 0.1, 'low': 0.5, 'weak': 0.3, 'ratio': 5., 'ece': 0.1, 'gain': 0.02}
FEW = 10  # with fewer boxes or positives, a score of a class says little


def finding(code: str, task: str, text: str, *, level: str = 'problem', classes: Sequence[str] = ()) -> dict:
    """A finding: ``code``, ``level`` ('problem' or 'note'), ``text``, ``classes``
    (names it is about) and ``advice``.
    """
    return {'code': code, 'level': level, 'text': text, 'classes': list(classes), 'advice': advice_for(code, task)}


def fit_verdict(train: float | None, val: float, *, chance: float = 0.) -> str:
    """'overfit' (gap above 0.1), 'underfit' (train below 0.5), both joined by ' and ', 'good', or 'unknown'.

    ``train`` and ``val`` are one score on training and validation images, None or NaN
    for not known; of a model whose useless score is ``chance``, the training score is
    judged as (train - chance) / (1 - chance).
    """
    if train is None or np.isnan(train) or np.isnan(val):
        return 'unknown'
    verdict = ['overfit'] if train - val > LIMITS['gap'] else []
    verdict += ['underfit'] if (train - chance) / (1 - chance) < LIMITS['low'] else []
    return ' and '.join(verdict) or 'good'


def fit_findings(fit: dict, task: str) -> list[dict]:
    """Findings of a ``fit`` section."""
    name, train, val, found = fit['metric'], fit['train'], fit['val'], []
    if 'overfit' in fit['verdict']:
        found.append(finding('overfit', task, f'Overfitting: {name} is {train:.3f} on training images and {val:.3f} on '
                             f'{fit["split"]}, a gap of {train - val:.3f} (limit {LIMITS["gap"]:g}).'))
    if 'underfit' in fit['verdict']:
        found.append(finding('underfit', task, f'Underfitting: {name} is only {train:.3f} on the training images '
                             f'themselves (limit {fit["low"]:g}).'))
    return found


def flags_of(fit: dict, imbalance: dict, quality: Mapping | None) -> dict[str, bool | None]:
    """The four flags of a diagnosis: ``overfit``, ``underfit``, ``imbalance``,
    ``low_quality_data``; None: not known.
    """
    known = fit['verdict'] != 'unknown'
    ratio = imbalance['ratio']
    return {'overfit': 'overfit' in fit['verdict'] if known else None,
            'underfit': 'underfit' in fit['verdict'] if known else None,
            'imbalance': None if ratio is None else ratio > LIMITS['ratio'],
            'low_quality_data': (quality or {}).get('low')}


def quality_text(section: dict) -> str:
    """A ``quality`` section in words that follow "annotations of the training set: "."""
    if 'unknown' in section:
        return f'not checked: {section["unknown"]}'
    empty = f', {section["images_without_boxes"]} of {section["images"]} images without boxes'
    return f'{section["faulty"]} of {section[section["of"]]} {section["of"]} faulty{empty * (section["of"] == "boxes")}'


def quality_findings(section: Mapping | None, task: str) -> list[dict]:
    """The finding of a ``quality`` section, if any."""
    if not section or not section.get('low'):
        return []
    counts = ', '.join(f'{code} {number}' for code, number in sorted(section['counts'].items()))
    return [finding('low_quality', task, f'Low-quality data: {section["faulty"]} of {section[section["of"]]} '
                    f'{section["of"]} of the training set are faulty, {section["share"]:.1%} (limit '
                    f'{section["limit"]:.0%}): {counts}.')]


def imbalance_findings(section: dict, rows: Sequence[dict], task: str, what: str) -> list[dict]:
    """Findings of an ``imbalance`` section; ``what`` names the score. Where the smallest class has a score like the
    others in ``rows`` (``per_class``), imbalance is only a note.
    """
    found, of, part = [], section['of'], f'in the {section["part"]} set'
    if section['absent'] and section['ratio'] is not None and section['part'] == 'training':
        found.append(finding('absent_class', task, f'There are no {of} of {", ".join(section["absent"])} {part}: what '
                             'the model says of them means nothing.', classes=section['absent']))
    if section['ratio'] is not None and section['ratio'] > LIMITS['ratio']:
        most, least = section['largest'], section['smallest']
        row = next(row for row in rows if row['class'] == least['class'])
        others = np.array([other['score'] for other in rows if not np.isnan(other['score'])])
        fine = len(others) and row['val'] >= FEW and not row['flag'] and row['score'] >= others.mean() - LIMITS['gap']
        text = (f'Class imbalance: {most["count"]} {of} of {most["class"]} against {least["count"]} of '
                f'{least["class"]} {part}, {section["ratio"]:.3g} to 1 (limit {LIMITS["ratio"]:g}).')
        if row['val'] >= FEW:
            text += (f' {least["class"]} {"does not suffer from it so far" if fine else "may suffer from it"}: {what} '
                     f'{row["score"]:.3f}, mean of all classes {others.mean():.3f}.')
        found.append(finding('imbalance', task, text, level='note' if fine else 'problem', classes=[least['class']]))
    return found


def weak_findings(rows: Sequence[dict], task: str, what: str, *, limit: float) -> list[dict]:
    """One finding on all classes whose row has ``flag`` set; one note on those with too
    few boxes or images to judge.
    """
    weak = [row for row in rows if row['flag'] and row['train'] != 0]
    found = []
    if weak:
        names = '; '.join(f'{row["class"]} {row["score"]:.3f} ({_numbers(row)})' for row in weak)
        found.append(finding('weak_class', task, f'Weak classes, {what} below {limit:g}: {names}.',
                             classes=[row['class'] for row in weak]))
    few = [row for row in rows if row['val'] < FEW]
    if few:
        names = ', '.join(f'{row["class"]} {row["val"]}' for row in few)
        found.append(finding('few', task, f'Too few in validation to judge (below {FEW}): {names}. Their scores '
                             'say little.', level='note', classes=[row['class'] for row in few]))
    return found


def _numbers(row: dict) -> str:
    return f'{row["val"]} in validation' + ('' if row['train'] is None else f', {row["train"]} in training')


def calibration_section(right, score, *, temperature: float | None = None, after=None) -> dict[str, Any]:
    """Is what scores 0.9 right nine times in ten?

    Args:
        right: (N,) 1 or 0; NaN entries are left out.
        score: (N,) in [0, 1].
        temperature, after: a temperature, and the scores (N,) that it leaves.
            None: of a sigmoid, fitted on the same entries, so that
            ``ece_after`` is a little too good.

    Returns: ``ece`` (expected calibration error), ``temperature``, ``ece_after`` it,
        ``mean_score``, ``share_right`` and ``bins``, rows of ``low``, ``high``,
        ``count``, ``mean_score``, ``share_right``. What is of nothing is NaN.
    """
    right, score = (np.asarray(values, np.float64).reshape(-1) for values in (right, score))
    known = ~np.isnan(right)
    right, score = right[known], score[known]
    if temperature is None:
        temperature = float(fit_temperature(right, to_logit(score))) if len(score) else 1.
        after = scale(score, temperature)
    bins = calibration_bins(right, score)
    columns = bins.edges[:-1], bins.edges[1:], bins.count, bins.mean, bins.share
    return {'ece': float(calibration_error(right, score)[0]),
            'temperature': temperature if len(score) else float('nan'),
            'ece_after': float(calibration_error(right, after)[0]),
            'mean_score': float(score.mean()) if len(score) else float('nan'),
            'share_right': float(right.mean()) if len(right) else float('nan'),
            'bins': [dict(zip(('low', 'high', 'count', 'mean_score', 'share_right'), row))
                     for row in zip(*(column.tolist() for column in columns))]}


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names in a row, the number of further ones behind: ``'a, b and 3 more'``."""
    names = list(names)
    return ', '.join(names[:most]) + (f' and {len(names) - most} more' if len(names) > most else '')


def plain(value: Any) -> Any:
    """The same with Python's own numbers, lists and dicts, NaN and infinity as None: what JSON can hold."""
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    return None if isinstance(value, float) and not np.isfinite(value) else value
