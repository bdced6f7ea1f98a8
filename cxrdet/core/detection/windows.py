"""Windows of an image around one box, and what becomes of boxes that a window cuts."""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cxrdet.core.detection.boxes import box_area, clip_boxes
from cxrdet.core.detection.matching import as_boxes


class Detected(NamedTuple):
    """What a detector found in an image file of ``size`` (height, width): boxes (N, 4) xyxy, scores (N,), N names."""

    file: str
    size: tuple[int, int]
    boxes: np.ndarray
    scores: np.ndarray
    names: Sequence[str]


def window_around(box, avoid, size: tuple[int, int], *, margin: float = 0.25) -> np.ndarray:
    """The window around ``box`` that leaves out the boxes of ``avoid``, as large as a greedy search finds it, (4,) int.

    It begins with the whole image; box by box, the nearest first, the side is
    moved in that costs the least area and leaves the box out. Boxes that reach
    into a margin around ``box`` are left out as far as that goes, and those that
    reach into ``box`` itself are not.

    Args:
        box: (4,) xyxy in pixels, with a part inside the image.
        avoid: (M, 4) xyxy.
        size: Height and width of the image.
        margin: Width of the rim around ``box`` as a share of its longer side; it is given up where a box of ``avoid``
            stands in it that can be left out otherwise.

    Returns: x1, y1, x2, y2 in whole pixels within the image.
    """
    height, width = size
    box = np.asarray(box, np.float64)
    inner = np.concatenate([np.floor(box[:2]), np.ceil(box[2:])])
    rim = margin * (box[2:] - box[:2]).max()
    outer = np.concatenate([np.floor(box[:2] - rim), np.ceil(box[2:] + rim)])
    inner, outer = (clip_boxes(part[None], height, width)[0] for part in (inner, outer))
    window = np.array([0., 0., width, height])
    avoid = as_boxes(avoid)
    gaps = np.maximum(np.maximum(avoid[:, :2] - box[2:], box[:2] - avoid[:, 2:]), 0)
    for other in avoid[np.argsort(np.hypot(*gaps.T), kind='stable')]:
        if not visible_shares(other[None], window)[1][0]:
            continue
        for core in (outer, inner):  # with the margin, or else without
            cuts = [cut for cut in _cuts(window, other) if (cut[:2] <= core[:2]).all() and (cut[2:] >= core[2:]).all()]
            if cuts:
                window = max(cuts, key=lambda cut: box_area(cut[None])[0])
                break
    return window.astype(np.int64)


def _cuts(window: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The window, four times, with one side moved in so far that ``other`` is left out."""
    cuts = np.tile(window, (4, 1))
    np.fill_diagonal(cuts, [*np.ceil(other[2:]), *np.floor(other[:2])])
    return cuts


def visible_shares(boxes, window) -> tuple[np.ndarray, np.ndarray]:
    """The parts of boxes (N, 4) xyxy that lie in a window, (N, 4), and their shares of
    the boxes' areas, (N,) in 0..1.

    A box without any part in the window has the share 0.
    """
    boxes, window = as_boxes(boxes), np.asarray(window, np.float64)
    parts = np.concatenate([np.maximum(boxes[:, :2], window[:2]), np.minimum(boxes[:, 2:], window[2:])], axis=1)
    areas = box_area(boxes)
    return parts, box_area(parts) / np.where(areas > 0, areas, 1)


def cut_boxes(boxes, window, *, min_visibility: float = 0.3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a window leaves of boxes: rows of those that stay, their parts (K, 4), and the remains of the others (R, 4).

    A remain is the visible part of a box of which less than ``min_visibility`` is in
    the window: there is something to be seen there that has no box any more.
    Coordinates are those of the image, not of the window.
    """
    parts, shares = visible_shares(boxes, window)
    stays = shares >= max(min_visibility, 1e-9)
    return np.flatnonzero(stays), parts[stays], parts[~stays & (shares > 0)]
