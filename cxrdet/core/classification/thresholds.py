"""ROC curves and the thresholds that are read off them; errors are those of
:func:`cxrdet.core.classification.roc.as_columns`.

Sources: W. J. Youden, "Index for rating diagnostic tests", Cancer 3, 1950 (sensitivity
+ specificity - 1); Z. C. Lipton et al., "Optimal thresholding of classifiers to
maximize F1 measure", ECML 2014; vertical averaging of resampled curves: T. Fawcett, "An
introduction to ROC analysis", Pattern Recognition Letters 27, 2006.
"""
import re

import numpy as np

from cxrdet.core.bootstrap import draws_of_groups, percentile_interval
from cxrdet.core.classification.multilabel import cumulated
from cxrdet.core.classification.roc import as_column, as_columns, last_of_ties

_RULES = 'youden, F1 or sensitivity>=S with S in (0, 1]'


def parse_rule(rule: str) -> tuple[str, float | None]:
    """Split a rule into its name and number: ``'sensitivity>=0.9'`` ->
    ``('sensitivity', 0.9)``; ValueError for anything but ``youden``, ``F1`` and
    ``sensitivity>=S`` with S in (0, 1].
    """
    text = str(rule).strip()
    if text in ('youden', 'F1'):
        return text, None
    match = re.fullmatch(r'sensitivity\s*>=\s*(\d*\.?\d+)', text)
    if match and 0 < float(match[1]) <= 1:
        return 'sensitivity', float(match[1])
    raise ValueError(f'expected a rule for thresholds, {_RULES}, got "{rule}"')


def roc_points(y_true, y_score) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ROC curve of one class: false positive rate, true positive rate and threshold, each (K + 1,), rates rising.

    The first point calls nothing positive (threshold infinity); then one for each distinct score of a known label. A
    rate is NaN where there are no negatives, or no positives.

    Raises: ValueError as :func:`cxrdet.core.classification.roc.as_column`, so for more than one class.
    """
    hits, alarms, thresholds, positives, negatives = cumulated(y_true, y_score)
    rate = [np.append(0, counts) / total if total else np.full(len(counts) + 1, np.nan)
            for counts, total in ((alarms, negatives), (hits, positives))]
    return rate[0], rate[1], np.append(np.inf, thresholds)


def choose_thresholds(y_true, y_score, rule: str) -> np.ndarray:
    """Threshold of each class by ``rule``, (C,) float64: one of the scores, to be compared by ``score >= threshold``.

    - ``youden``: highest sensitivity + specificity.
    - ``F1``: highest F1.
    - ``sensitivity>=S``: the highest threshold with at least this sensitivity, which has the best specificity.

    Of equally good thresholds the highest is taken. NaN for a class that lacks positives or negatives.

    Raises: ValueError as :func:`cxrdet.core.classification.roc.as_columns` and :func:`parse_rule`.
    """
    true, score = as_columns(y_true, y_score)
    name, least = parse_rule(rule)
    return np.array([_choose(*pair, name, least) for pair in zip(true.T, score.T)])


def roc_band(y_true, y_score, *, groups=None, samples: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pointwise 95 % bootstrap band of the ROC curve of one class: false positive
    rates, lower and upper ends, each (101,).

    Arguments as for :func:`cxrdet.core.classification.roc.bootstrap_areas`. NaN where a draw never holds both labels.

    Raises: ValueError as :func:`cxrdet.core.classification.roc.bootstrap_areas`, or for more than one class.
    """
    true, score = as_column(y_true, y_score)
    at, curves = np.linspace(0, 1, 101), [np.zeros((0, 101))]
    known = np.flatnonzero(~np.isnan(true))
    order = known[np.argsort(-score[known], kind='stable')]
    last, positive = last_of_ties(score[order]), true[order] == 1
    for draws in draws_of_groups(len(true), groups=groups, samples=samples):
        for weights in draws[order].T:
            hits, alarms = (np.cumsum(weights * mask)[last] for mask in (positive, ~positive))
            if len(last) and hits[-1] and alarms[-1]:
                rates = np.append(0, alarms) / alarms[-1]
                upper = np.append(np.diff(rates) > 0, True)  # of a vertical part, its upper end
                curves.append(np.interp(at, rates[upper], (np.append(0, hits) / hits[-1])[upper])[None])
    return at, *percentile_interval(np.concatenate(curves))


def _choose(true: np.ndarray, score: np.ndarray, name: str, least: float | None) -> float:
    hits, alarms, thresholds, positives, negatives = cumulated(true, score)
    if not positives or not negatives:
        return np.nan
    if least is not None:
        return float(thresholds[np.argmax(hits / positives >= least - 1e-12)])
    # compared as whole numbers, so that equally good thresholds are equal
    gain = hits * negatives - alarms * positives if name == 'youden' else 2 * hits / (hits + alarms + positives)
    return float(thresholds[np.argmax(gain)])
