"""Which images to repeat so that rare classes come up to a number of boxes."""
import numpy as np

__all__ = ['plan_repeats']


def plan_repeats(counts, targets, *, have=None, used=None, max_repeats: int = 20, seed: int = 0) -> np.ndarray:
    """Numbers of the images to repeat, in order, (K,) int64: one entry an additional copy.

    The class that lacks the largest share of its target is served first: of its images the one whose boxes of classes
    that lack some are the largest share of all its boxes, and that has been repeated the least, is taken; ties are
    drawn. So a copy brings as little as it can of what is plentiful. It ends when every class has its target or none
    of its images may be repeated any more.

    Args:
        counts: (N, C) int, boxes of each class in each image.
        targets: (C,) int, boxes of each class that are wanted; 0 for a class that may stay as it is.
        have: (C,) boxes of each class that there are. Default: those of ``counts``.
        used: (N,) copies of each image that there are. Default: none.
        max_repeats: Copies of one image at most.
        seed: Of the ties.

    Raises: ValueError if the lengths do not fit or a target is below 0.
    """
    counts, targets = np.asarray(counts, np.int64), np.asarray(targets, np.int64)
    if counts.ndim != 2 or targets.shape != counts.shape[1:] or (targets < 0).any():
        raise ValueError(f'expected counts (N, C) and C targets of 0 or more, got {counts.shape} and '
                         f'{targets.tolist()}')
    have = counts.sum(axis=0) if have is None else np.asarray(have, np.int64)
    used = np.zeros(len(counts), np.int64) if used is None else np.array(used, np.int64)
    tie = np.random.default_rng(seed).random(len(counts))
    total = np.maximum(counts.sum(axis=1), 1)
    chosen = []
    while True:
        lacking = (have < targets) & (counts[used < max_repeats] > 0).any(axis=0)
        if not lacking.any():
            return np.array(chosen, np.int64)
        served = int(np.argmax(np.where(lacking, 1 - have / np.maximum(targets, 1), -1)))
        rows = np.flatnonzero((counts[:, served] > 0) & (used < max_repeats))
        useful = counts[rows][:, have < targets].sum(axis=1) / total[rows]
        best = rows[np.lexsort((tie[rows], -useful, used[rows]))[0]]
        chosen.append(best)
        used[best] += 1
        have = have + counts[best]
