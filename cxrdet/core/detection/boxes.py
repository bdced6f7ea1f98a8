"""Boxes as NumPy arrays: area, overlap, clipping, conversions and the test for boxes that cannot be used.

Boxes are (N, 4) xyxy in absolute pixels with continuous corners: ``width = x2 - x1``
(no legacy ``+ 1``), a box that covers the whole image is ``(0, 0, W, H)``. Arguments
stay as they are; those of another shape raise ValueError.
"""
import math
from collections.abc import Sequence

import numpy as np

FARTHEST = 1e9  # px; a coordinate from here on is none of an image, and its square may be no number


def _boxes(boxes, name: str = 'boxes') -> np.ndarray:
    """Boxes (N, 4) of at least single precision."""
    boxes = np.asarray(boxes)
    if boxes.shape == (0,):  # an empty list knows no second dimension
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f'{name} must have shape (N, 4), got {boxes.shape}')
    return boxes.astype(np.promote_types(boxes.dtype, np.float32), copy=False)


def box_area(boxes) -> np.ndarray:
    """Areas (N,) of boxes (N, 4) xyxy, in square pixels; 0 for an inverted box.

    Raises: ValueError if the shape is not (N, 4).
    """
    boxes = _boxes(boxes)
    with np.errstate(over='ignore', invalid='ignore'):  # infinite corners are for the caller to tell
        return (boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(-1)


def box_iou(a, b) -> np.ndarray:
    """Intersection over union (N, M) in [0, 1] of every box of ``a`` (N, 4) with every box of ``b`` (M, 4), xyxy.

    Two boxes without area have IoU 0 (and not NaN as by the bare quotient), even where they coincide.

    Raises: ValueError if the shape is not (N, 4).
    """
    a, b = _boxes(a, 'a'), _boxes(b, 'b')
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    inter = sides.clip(min=0).prod(-1)
    union = box_area(a)[:, None] + box_area(b)[None, :] - inter
    return inter / np.where(union > 0, union, np.ones_like(union))


def clip_boxes(boxes, height: float, width: float) -> np.ndarray:
    """Boxes (N, 4) xyxy with x held to [0, width] and y to [0, height].

    Raises: ValueError if the shape is not (N, 4).
    """
    boxes = _boxes(boxes)
    return np.clip(boxes, 0, np.array([width, height, width, height], boxes.dtype))


def xywh_to_xyxy(boxes) -> np.ndarray:
    """Boxes (N, 4) as x1, y1, width, height (COCO) to x1, y1, x2, y2.

    Raises: ValueError if the shape is not (N, 4).
    """
    boxes = _boxes(boxes)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], -1)


def xyxy_to_xywh(boxes) -> np.ndarray:
    """Boxes (N, 4) as x1, y1, x2, y2 to x1, y1, width, height (COCO).

    Raises: ValueError if the shape is not (N, 4).
    """
    boxes = _boxes(boxes)
    with np.errstate(over='ignore', invalid='ignore'):  # as above
        return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], -1)


def box_fault(box: tuple[float, float, float, float], height: float, width: float) -> str:
    """Why one box cannot be used: ``'degenerate'`` (a side below one pixel, or a corner that is not finite or too far),
    ``'outside'`` (it shares no area with the image), or ``''`` (it can).

    Args:
        box: x1, y1, x2, y2 in pixels.
        height, width: of the image, in pixels.
    """
    x1, y1, x2, y2 = box
    if not (x2 - x1 >= 1 and y2 - y1 >= 1 and all(abs(value) < FARTHEST for value in box)):
        return 'degenerate'
    if min(x2, width) <= max(x1, 0) or min(y2, height) <= max(y1, 0):
        return 'outside'
    return ''


def box_faults(boxes: np.ndarray, sizes: np.ndarray) -> list[str]:
    """:func:`box_fault` of boxes, each in an image of its own of ``sizes`` (N, 2), height and width."""
    with np.errstate(invalid='ignore'):
        inside = np.minimum(boxes[:, 2:], sizes[:, ::-1]) > np.maximum(boxes[:, :2], 0)
        whole = (np.abs(boxes) < FARTHEST).all(axis=1) & (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
    return np.where(whole, np.where(inside.all(axis=1), '', 'outside'), 'degenerate').tolist()


def turned_box(box: Sequence[float], degrees: float, *, about_corner: bool = False) -> list[float]:
    """Corners x1, y1 … x4, y4 of one xyxy box turned clockwise (y points down) around its centre or first corner."""
    x1, y1, x2, y2 = box
    x, y = (x1, y1) if about_corner else ((x1 + x2) / 2, (y1 + y2) / 2)
    turn = math.radians(degrees) if math.isfinite(degrees) else math.nan
    cos, sin = math.cos(turn), math.sin(turn)
    return [value for across, down in ((x1 - x, y1 - y), (x2 - x, y1 - y), (x2 - x, y2 - y), (x1 - x, y2 - y))
            for value in (x + across * cos - down * sin, y + across * sin + down * cos)]


def ellipse_box(centre: Sequence[float], radii: Sequence[float], degrees: float = 0) -> list[float]:
    """The upright xyxy extent of an ellipse with ``radii`` along x and y, turned clockwise around its centre."""
    turn = math.radians(degrees) if math.isfinite(degrees) else math.nan
    cos, sin = math.cos(turn), math.sin(turn)
    wide = math.hypot(radii[0] * cos, radii[1] * sin)
    high = math.hypot(radii[0] * sin, radii[1] * cos)
    return [centre[0] - wide, centre[1] - high, centre[0] + wide, centre[1] + high]
