"""Area under the ROC curve of many classes at once, with intervals.

Labels are 1, 0 or NaN (unknown); unknown entries are left out class by class. A class that lacks positives or negatives
has no ROC curve: its results are NaN.

Sources: J. A. Hanley, B. J. McNeil, "The meaning and use of the area under a ROC curve", Radiology 143, 1982 (the area
is the Mann-Whitney statistic, ties counted half); E. R. DeLong et al., Biometrics 44, 1988 (its variance), in the
form by ranks of X. Sun, W. Xu, IEEE Signal Processing Letters 21(11), 2014; B. Efron, R. Tibshirani,
"An Introduction to the Bootstrap", 1993 (percentile interval over resampled groups).
"""
from statistics import NormalDist

import numpy as np

__all__ = ['as_columns', 'auroc', 'bootstrap_interval', 'delong_interval', 'midrank']


def as_columns(y_true, y_score) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and scores as (N, C) float64; one-dimensional input becomes one column.

    Raises: ValueError if the shapes differ, a label is not 1, 0 or NaN, or the score of a known label is not finite.
    """
    true, score = (np.asarray(array, dtype=np.float64) for array in (y_true, y_score))
    if true.shape != score.shape or true.ndim not in (1, 2):
        raise ValueError(f'expected labels and scores of one shape, (N,) or (N, C), got {true.shape} and {score.shape}')
    true, score = (array.reshape(len(array), -1) if array.size else array.reshape(0, *array.shape[1:] or (1,))
                   for array in (true, score))
    known = ~np.isnan(true)
    if bad := _first(known & (true != 0) & (true != 1)):
        raise ValueError(f'labels must be 1, 0 or NaN (unknown), got {true[bad]} in row {bad[0]}, column {bad[1]}')
    if bad := _first(known & ~np.isfinite(score)):
        raise ValueError(f'scores must be finite, got {score[bad]} in row {bad[0]}, column {bad[1]}')
    return true, score


def midrank(values: np.ndarray) -> np.ndarray:
    """Ranks of (N,) values, counted from 1; equal values share the mean of their ranks."""
    _, inverse, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[inverse.reshape(-1)]


def auroc(y_true, y_score) -> np.ndarray:
    """Area under the ROC curve of each class, (C,) float64 in [0, 1]; NaN where a class lacks positives or negatives.

    Args:
        y_true: (N, C) or (N,) labels: 1, 0 or NaN for unknown.
        y_score: Scores of the same shape, any range; higher means more likely positive.

    Raises: ValueError as :func:`as_columns`.
    """
    return np.array([_placements(*pair)[0] for pair in zip(*(a.T for a in as_columns(y_true, y_score)))])


def delong_interval(y_true, y_score, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Confidence interval of :func:`auroc` by DeLong's variance: lower and upper ends, each (C,) float64 in [0, 1].

    The interval is symmetric and cut at 0 and 1, as in R's pROC; it has no width where positives and negatives are told
    apart without error. NaN where the area is NaN or a class has a single positive or negative. Rows are taken as
    independent; where several films show one patient, use :func:`bootstrap_interval` with ``groups``.

    Args:
        y_true, y_score: As for :func:`auroc`.
        level: Share of intervals that should hold the true area, in (0, 1).

    Raises: ValueError as :func:`as_columns`, or if ``level`` is out of range.
    """
    width = NormalDist().inv_cdf(0.5 + _checked(level) / 2)
    ends = []
    for true, score in zip(*(a.T for a in as_columns(y_true, y_score))):
        area, of_positives, of_negatives = _placements(true, score)
        if min(len(of_positives), len(of_negatives)) < 2:
            ends.append((np.nan, np.nan))
            continue
        spread = np.sqrt(of_positives.var(ddof=1) / len(of_positives) + of_negatives.var(ddof=1) / len(of_negatives))
        ends.append((max(area - width * spread, 0.), min(area + width * spread, 1.)))
    low, high = np.array(ends).reshape(-1, 2).T
    return low, high


def bootstrap_interval(y_true, y_score, *, groups=None, level: float = 0.95, samples: int = 1000,
                       seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of :func:`auroc` over resampled groups: lower and upper ends, each (C,) float64 in [0, 1].

    Whole groups are drawn with replacement, so that films of one patient stay together. Draws in which a class lacks
    positives or negatives are left out for that class; NaN where that is all of them.

    Args:
        y_true, y_score: As for :func:`auroc`.
        groups: (N,) group of each row, for example patient numbers. None: each row for itself.
        level: Share of intervals that should hold the true area, in (0, 1).
        samples: Number of draws.
        seed: Of the draws.

    Raises: ValueError as :func:`as_columns`, or if ``groups``, ``level`` or ``samples`` do not fit.
    """
    tail = (1 - _checked(level)) / 2
    true, score = as_columns(y_true, y_score)
    group = np.arange(len(true)) if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
    if len(group) != len(true) or samples < 1:
        raise ValueError(f'expected {len(true)} groups, one a row, and at least one sample, '
                         f'got {len(group)} and {samples}')
    rng, count = np.random.default_rng(seed), int(group.max(initial=-1)) + 1
    areas = np.full((samples, true.shape[1]), np.nan)
    orders = [_ordered(*pair) for pair in zip(true.T, score.T)]
    for start in range(0, samples if count else 0, 50):  # 50 draws at a time bound the memory
        draws = rng.multinomial(count, np.full(count, 1 / count), size=min(50, samples - start))
        for column, (rows, positive, starts) in enumerate(orders):
            if len(rows):
                areas[start:start + len(draws), column] = _weighted_areas(draws[:, group[rows]], positive, starts)
    ends = np.full((2, true.shape[1]), np.nan)
    for column in np.flatnonzero(~np.isnan(areas).all(axis=0)):
        ends[:, column] = np.nanquantile(areas[:, column], (tail, 1 - tail))
    return ends[0], ends[1]


def _placements(true: np.ndarray, score: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The area, and DeLong's structural components of positives and negatives."""
    positive, negative = score[true == 1], score[true == 0]
    if not len(positive) or not len(negative):
        return np.nan, positive[:0], negative[:0]
    ranks = midrank(np.concatenate([positive, negative]))
    of_positives = (ranks[:len(positive)] - midrank(positive)) / len(negative)
    of_negatives = 1 - (ranks[len(positive):] - midrank(negative)) / len(positive)
    return float(of_positives.mean()), of_positives, of_negatives


def _ordered(true: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with known labels by rising score, whether each is positive, and where each run of equal scores begins."""
    rows = np.flatnonzero(~np.isnan(true))
    rows = rows[np.argsort(score[rows], kind='stable')]
    starts = np.flatnonzero(np.diff(score[rows], prepend=np.nan) != 0)
    return rows, true[rows] == 1, starts


def _weighted_areas(weights: np.ndarray, positive: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Areas (B,) under the ROC curves of rows, in the order of :func:`_ordered`, counted ``weights`` (B, N) times."""
    positives = np.add.reduceat(weights * positive, starts, axis=1).astype(np.float64)
    negatives = np.add.reduceat(weights * ~positive, starts, axis=1).astype(np.float64)
    below = np.cumsum(negatives, axis=1) - negatives / 2
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    return np.divide((positives * below).sum(axis=1), pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def _first(mask: np.ndarray) -> tuple[int, int] | None:
    """Row and column of the first True."""
    return tuple(np.argwhere(mask)[0].tolist()) if mask.any() else None


def _checked(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f'level must lie between 0 and 1, got {level}')
    return level
