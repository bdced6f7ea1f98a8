"""Fusion over models that need not know the same classes, and which of their boxes can be fused at all."""
import math
import sys
from collections.abc import Collection, Sequence

import numpy as np

from cxrdet.core.detection.fusion import Array, Fused, best_first, fuse, is_tensor


def fuse_known(boxes: Sequence[Array], scores: Sequence[Array], labels: Sequence[Array],
               known: Sequence[Collection[int]], *, fusion: str = 'wbf', weights: Sequence[float] | None = None,
               most: int | None = None, **options) -> Fused:
    """Fuse the boxes of each label over the models that know it, so that the silence of the others counts for nothing.

    Args:
        boxes, scores, labels, fusion, weights, **options: as for :func:`cxrdet.core.detection.fusion.fuse`.
        known: the labels that each model knows; its boxes of other labels are left out.
        most: how many of the fused boxes stay, the best. Default: all.

    Raises: ValueError if no model that has a weight knows a label, and as :func:`cxrdet.core.detection.fusion.fuse`.

    Returns: boxes (M, 4), scores (M,) and labels (M,), best first.
    """
    if len({len(column) for column in (boxes, scores, labels, known, *([] if weights is None else [weights]))}) > 1:
        raise ValueError('expected boxes, scores, labels, known labels and weights of the same models')
    groups: dict[tuple[int, ...], list[int]] = {}
    for label in sorted(set().union(*known)):
        groups.setdefault(tuple(i for i, own in enumerate(known) if label in own), []).append(label)
    parts = []
    for models, chosen in groups.items():
        shares = None if weights is None else [weights[i] for i in models]
        if shares is None or any(shares):
            rows = [_among(labels[i], chosen) for i in models]
            parts.append(fuse(*([column[i][row] for i, row in zip(models, rows)] for column in (boxes, scores, labels)),
                              fusion=fusion, weights=shares, **options))
    if not parts:
        raise ValueError(f'no model with a weight knows a label, got known={list(map(list, known))} and '
                         f'weights={weights}')
    joined = [_join(column) for column in zip(*parts)]
    order = best_first(joined[1])[:most]
    return joined[0][order], joined[1][order], joined[2][order]


def fusable(boxes: Array, scores: Array) -> Array:
    """Where boxes (N, 4) have finite corners in their order, x1 <= x2 and y1 <= y2, and
    scores (N,) are finite: a mask (N,) of the kind of array that came in. Negative
    scores pass, as fusion refuses them with reason: they are no scores.
    """
    finite = (abs(boxes) < math.inf).all(1) & (abs(scores) < math.inf)
    return finite & (boxes[:, 2:] >= boxes[:, :2]).all(1)


def _among(labels: Array, chosen: Sequence[int]) -> Array:
    if not is_tensor(labels):
        return np.isin(labels, chosen)
    return sys.modules['torch'].isin(labels, labels.new_tensor(chosen))


def _join(parts: Sequence[Array]) -> Array:
    return sys.modules['torch'].cat(parts) if is_tensor(parts[0]) else np.concatenate(parts)

