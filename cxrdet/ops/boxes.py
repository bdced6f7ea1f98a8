"""Overlaps of boxes, as mmcv calls them."""
import torch
from torch import Tensor

from cxrdet.ops.kernels import exact_dtype


def bbox_overlaps(bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int) -> None:
    """Intersection over union (mode 0) or over the first box (mode 1) -> ious, (M, N), or (M,) if ``aligned``.

    Boxes: (M, 4) and (N, 4) xyxy; width = x2 - x1 + offset. Two boxes without area have overlap 0.
    """
    dtype = exact_dtype(bboxes1)
    first, second = bboxes1.to(dtype), bboxes2.to(dtype)
    area1, area2 = _area(first, offset), _area(second, offset)
    if not aligned:
        first, area1 = first[:, None], area1[:, None]
    size = (torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2]) +
            offset).clamp(min=0)
    inter = size[..., 0] * size[..., 1]
    base = area1 + area2 - inter if mode == 0 else area1.expand_as(inter)
    ious.copy_(torch.where(base != 0, inter / base, torch.zeros_like(inter)))


def _area(boxes: Tensor, offset: int) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0] + offset) * (boxes[:, 3] - boxes[:, 1] + offset)
