"""Which copies to make, and which images to leave out, so that the classes of a set come near to each other.

Own work: greedy choices in numbers of boxes. A copy is worth the boxes of
classes that still lack some, less the boxes of all other classes, less the
copies that there are of the same object.
"""
import numpy as np

MAX_REPEATS = 20  # copies that one object may be in


def best_copy(added, have, targets, *, used, room=None, tie=None) -> int | None:
    """Number of the copy that is worth most now, or None where no class that lacks boxes can be served.

    The class that lacks the largest share of its target is served first. Of the copies
    that bring some of it, the one of the largest gain - cost - used is taken, those of
    lost objects first. Gain: its boxes of classes that lack some, as far as they lack
    them. Cost: its boxes of the others.

    Args:
        added: (K, C) int, boxes of each class that a copy for each object would bring.
        have, targets: (C,) boxes of each class that there are, and are wanted; 0 for a class that may stay as it is.
        used: (K,) int, copies that there are of each object; below 0 for one that the set has lost.
        room: (C,) boxes of each class that copies may still bring; a copy that brings more is none. Default: any.
        tie: (K,) float, the larger the first among equals. Default: the first.
    """
    added, targets, have, used = (np.asarray(part, np.int64) for part in (added, targets, have, used))
    if added.ndim != 2 or targets.shape != added.shape[1:] or (targets < 0).any() or used.shape != added.shape[:1]:
        raise ValueError(f'expected added (K, C), used (K,) and C targets of 0 or more, got {added.shape}, '
                         f'{used.shape} and {targets.tolist()}')
    allowed = used < MAX_REPEATS
    if room is not None:
        allowed &= (added <= np.maximum(room, 0)).all(axis=1)
    lacking = (have < targets) & (added[allowed] > 0).any(axis=0)
    if not lacking.any():
        return None
    served = int(np.argmax(np.where(lacking, 1 - have / np.maximum(targets, 1), -1)))
    rows = np.flatnonzero(allowed & (added[:, served] > 0))
    wanted = have < targets
    gain = np.minimum(added[rows][:, wanted], (targets - have)[wanted]).sum(axis=1)
    value = gain - added[rows][:, ~wanted].sum(axis=1) - used[rows]
    order = -np.asarray(tie, np.float64)[rows] if tie is not None else rows
    return int(rows[np.lexsort((order, -value, used[rows] >= 0))[0]])


def image_to_leave_out(counts, have, targets, most, *, tie=None) -> int | None:
    """Number of the image without which the set is nearest to balance, or None where no class is above its bound.

    Of the images with boxes of a class above its bound, the one of the largest gain -
    cost is taken. Gain: boxes above the bounds that go with it. Cost: boxes that
    classes would lack of their targets without it.

    Args:
        counts: (N, C) int, boxes of each class in each image that may go; zeros for one that is gone.
        have, targets, tie: as for :func:`best_copy`; tie (N,).
        most: (C,) int, bound of each class.
    """
    counts, have, targets, most = (np.asarray(part, np.int64) for part in (counts, have, targets, most))
    excess = np.maximum(have - most, 0)
    rows = np.flatnonzero((counts[:, excess > 0] > 0).any(axis=1))
    if not len(rows):
        return None
    lost = np.maximum(targets - (have - counts[rows]), 0) - np.maximum(targets - have, 0)
    value = np.minimum(counts[rows], excess).sum(axis=1) - lost.sum(axis=1)
    order = -np.asarray(tie, np.float64)[rows] if tie is not None else rows
    return int(rows[np.lexsort((order, -value))[0]])
