"""Boxes as arrays: area, overlap, clipping, conversions and the test for boxes that cannot be used.

Boxes are (N, 4) xyxy in absolute pixels with continuous corners: ``width = x2 - x1`` (no legacy ``+ 1``), a box that
covers the whole image is ``(0, 0, W, H)``. Every function takes NumPy arrays (or nested sequences, read as such) or
torch tensors, gives back the kind it got, and leaves its arguments as they are. Torch is never imported here.
"""
import math
import sys
from types import ModuleType
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray or torch.Tensor


def _boxes(boxes: Array, name: str = 'boxes') -> tuple[ModuleType, Array]:
    """Return the array library of ``boxes`` and the boxes themselves, of at least single precision."""
    torch = sys.modules.get('torch')
    is_tensor = torch is not None and isinstance(boxes, torch.Tensor)
    boxes = boxes if is_tensor else np.asarray(boxes)
    if boxes.ndim == 1 and boxes.shape[0] == 0:  # an empty list knows no second dimension
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f'{name} must have shape (N, 4), got {tuple(boxes.shape)}')
    if is_tensor:
        return torch, boxes.to(torch.promote_types(boxes.dtype, torch.float32))
    return np, boxes.astype(np.promote_types(boxes.dtype, np.float32), copy=False)


def box_area(boxes: Array) -> Array:
    """Areas (N,) of boxes (N, 4) xyxy, in square pixels; 0 for an inverted box.

    Raises:
        ValueError: if the shape is not (N, 4).
    """
    _, boxes = _boxes(boxes)
    return (boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(-1)


def box_iou(a: Array, b: Array) -> Array:
    """Intersection over union (N, M) in [0, 1] of every box of ``a`` (N, 4) with every box of ``b`` (M, 4), xyxy.

    Two boxes without area have IoU 0 (and not NaN as by the bare quotient), even where they coincide.

    Raises:
        ValueError: if a shape is not (N, 4).
        TypeError: if one is a NumPy array and the other a tensor.
    """
    lib, a = _boxes(a, 'a')
    other, b = _boxes(b, 'b')
    if lib is not other:
        raise TypeError(f'a and b must both be NumPy arrays or both torch tensors, got {type(a)} and {type(b)}')
    sides = lib.minimum(a[:, None, 2:], b[None, :, 2:]) - lib.maximum(a[:, None, :2], b[None, :, :2])
    inter = sides.clip(min=0).prod(-1)
    union = box_area(a)[:, None] + box_area(b)[None, :] - inter
    return inter / lib.where(union > 0, union, lib.ones_like(union))


def clip_boxes(boxes: Array, height: float, width: float) -> Array:
    """Boxes (N, 4) xyxy with x held to [0, width] and y to [0, height].

    Raises:
        ValueError: if the shape is not (N, 4).
    """
    lib, boxes = _boxes(boxes)
    x, y = boxes[:, 0::2].clip(0, width), boxes[:, 1::2].clip(0, height)
    return lib.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], -1)


def xywh_to_xyxy(boxes: Array) -> Array:
    """Boxes (N, 4) as x1, y1, width, height (COCO) to x1, y1, x2, y2.

    Raises:
        ValueError: if the shape is not (N, 4).
    """
    lib, boxes = _boxes(boxes)
    return lib.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], -1)


def xyxy_to_xywh(boxes: Array) -> Array:
    """Boxes (N, 4) as x1, y1, x2, y2 to x1, y1, width, height (COCO).

    Raises:
        ValueError: if the shape is not (N, 4).
    """
    lib, boxes = _boxes(boxes)
    return lib.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], -1)


def degenerate_mask(boxes: Array, min_size: float = 1.0) -> Array:
    """Bool (N,): True where a corner is not finite or a side of the box (N, 4) xyxy is shorter than ``min_size`` px.

    An inverted box has negative sides and is degenerate.

    Raises:
        ValueError: if the shape is not (N, 4).
    """
    lib, boxes = _boxes(boxes)
    return ~(lib.isfinite(boxes).all(-1) & (boxes[:, 2:] - boxes[:, :2] >= min_size).all(-1))


def outside_mask(boxes: Array, height: float, width: float) -> Array:
    """Bool (N,): True where a box (N, 4) xyxy shares no area with the image [0, width] x [0, height].

    Raises:
        ValueError: if the shape is not (N, 4).
    """
    return box_area(clip_boxes(boxes, height, width)) == 0


def box_fault(box: tuple[float, float, float, float], height: float, width: float, min_size: float = 1.0) -> str:
    """Why one xyxy box in pixels cannot be used: ``'degenerate'``, ``'outside'`` or ``''`` (it can).

    The scalar twin of :func:`degenerate_mask` and :func:`outside_mask`, for readers that go through a file box by box.
    """
    x1, y1, x2, y2 = box
    if not (x2 - x1 >= min_size and y2 - y1 >= min_size and all(map(math.isfinite, box))):
        return 'degenerate'
    if min(x2, width) <= max(x1, 0) or min(y2, height) <= max(y1, 0):
        return 'outside'
    return ''


def box_faults(boxes: np.ndarray, sizes: np.ndarray, min_size: float = 1.0) -> list[str]:
    """:func:`box_fault` of boxes (N, 4) xyxy, each in an image of its own of ``sizes`` (N, 2), height and width."""
    with np.errstate(invalid='ignore'):
        inside = np.minimum(boxes[:, 2:], sizes[:, ::-1]) > np.maximum(boxes[:, :2], 0)
        degenerate = degenerate_mask(boxes, min_size)
    return np.where(degenerate, 'degenerate', np.where(inside.all(axis=1), '', 'outside')).tolist()


def turned_box(box: tuple[float, float, float, float], degrees: float, *, about_corner: bool = False) -> list[float]:
    """Corners x1, y1 … x4, y4 of one xyxy box turned clockwise (y points down) around its centre or first corner."""
    x1, y1, x2, y2 = box
    x, y = (x1, y1) if about_corner else ((x1 + x2) / 2, (y1 + y2) / 2)
    turn = math.radians(degrees) if math.isfinite(degrees) else math.nan
    cos, sin = math.cos(turn), math.sin(turn)
    return [value for across, down in ((x1 - x, y1 - y), (x2 - x, y1 - y), (x2 - x, y2 - y), (x1 - x, y2 - y))
            for value in (x + across * cos - down * sin, y + across * sin + down * cos)]


def ellipse_box(centre: tuple[float, float], radii: tuple[float, float], degrees: float = 0) -> list[float]:
    """The upright xyxy extent of an ellipse with ``radii`` along x and y, turned clockwise around its centre."""
    turn = math.radians(degrees) if math.isfinite(degrees) else math.nan
    cos, sin = math.cos(turn), math.sin(turn)
    wide = math.hypot(radii[0] * cos, radii[1] * sin)
    high = math.hypot(radii[0] * sin, radii[1] * cos)
    return [centre[0] - wide, centre[1] - high, centre[0] + wide, centre[1] + high]
