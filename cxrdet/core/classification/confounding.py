"""Does a label go with the view in which an image was taken, so that a model could learn the one for the other?

Source: Cramér's V with W. Bergsma's correction of its bias ("A bias-correction for
Cramér's V and Tschuprow's T", Journal of the Korean Statistical Society 42, 2013), by
which independent columns give about 0 whatever their length.
"""
from collections.abc import Sequence

import numpy as np


def cramers_v(counts) -> float:
    """Corrected Cramér's V of a table of counts (R, S), in [0, 1]: 0 for independence, 1 where one gives the other.

    Rows and columns without counts are left out; NaN where fewer than two of either remain, or a single observation.
    """
    counts = np.asarray(counts, np.float64)
    counts = counts[counts.any(axis=1)][:, counts.any(axis=0)]
    n, (rows, columns) = counts.sum(), counts.shape
    if min(rows, columns) < 2 or n < 2:
        return float('nan')
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / n
    phi = max(0., ((counts - expected) ** 2 / expected).sum() / n - (rows - 1) * (columns - 1) / (n - 1))
    rows, columns = (k - (k - 1) ** 2 / (n - 1) for k in (rows, columns))
    smaller = min(rows, columns) - 1
    return float(np.sqrt(phi / smaller)) if smaller > 0 else float('nan')


def confounded_labels(labels, views: Sequence[str] | np.ndarray, *, threshold: float = 0.1) -> list[
        tuple[int, float, dict[str, float]]]:
    """Labels whose Cramér's V with the view is at least ``threshold``, the strongest first.

    Args:
        labels: (N, C) bool.
        views: (N) names; images with ``''`` are left out, and fewer than 50 of known view say nothing.

    Returns: (label, V, share of the images of each view that have the label), a tuple a label.
    """
    labels, views = np.asarray(labels, bool), np.asarray(views, dtype=object)
    known = np.array([bool(view) for view in views], bool)
    names = sorted(set(views[known]))
    if known.sum() < 50 or len(names) < 2:
        return []
    found = []
    for label in range(labels.shape[1]):
        column = labels[:, label]
        counts = [[int((column & (views == name)).sum()), int((~column & (views == name)).sum())] for name in names]
        value = cramers_v(counts)
        if value >= threshold:
            found.append((label, value, {name: with_ / (with_ + without) for name, (with_, without)
                                         in zip(names, counts)}))
    return sorted(found, key=lambda item: -item[1])
