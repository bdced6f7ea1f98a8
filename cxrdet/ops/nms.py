"""Non-maximum suppression: hard, soft (Bodla et al., Soft-NMS, ICCV 2017) and grouped, as mmcv calls them.

Boxes: (N, 4) xyxy in pixels; with ``offset`` o, width = x2 - x1 + o (o = 1: the legacy inclusive corners).
"""
import math

import numpy as np
import torch
from torch import Tensor

from cxrdet.core.compiled import compiled
from cxrdet.core.detection.boxes import box_iou
from cxrdet.ops.kernels import exact_dtype, torchvision_ops


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices (K,) int64 of the boxes kept, by falling score. A box goes if its IoU with a kept one is > threshold."""
    if boxes.numel() == 0:
        return torch.empty(0, dtype=torch.long, device=boxes.device)
    dtype = exact_dtype(boxes)
    boxes = boxes.detach().to(dtype)
    if offset:
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1)
    return torchvision_ops().nms(boxes, scores.detach().to(dtype), float(iou_threshold))


def softnms(boxes: Tensor, scores: Tensor, dets: Tensor, iou_threshold: float, sigma: float, min_score: float,
            method: int, offset: int) -> Tensor:
    """Soft-NMS: boxes lose score by their overlap with better ones instead of being removed.

    Args:
        boxes: (N, 4); scores: (N,); both on the CPU, as mmcv passes them.
        dets: (N, 5), filled in place: row k is the k-th box chosen and its lowered score; rows >= K stay undefined.
        iou_threshold: of the methods 0 and 1.
        sigma: of method 2.
        min_score: a box whose lowered score falls below is dropped (the best box of all is always kept, as in mmcv).
        method: 0 naive (weight 0 from the threshold on), 1 linear (1 - IoU from the threshold on),
            2 gaussian (exp(-IoU^2 / sigma)).
        offset: 0 or 1.

    Returns: (K,) int64, the indices into ``boxes`` in the order of ``dets``.

    Raises: ValueError for another method.
    """
    if method not in (0, 1, 2):
        raise ValueError(f'soft-NMS knows the methods 0 (naive), 1 (linear) and 2 (gaussian), not {method}')
    dtype = np.float64 if boxes.dtype == torch.float64 else np.float32
    rows = np.concatenate([boxes.detach().to(torch.float64).numpy().reshape(-1, 4),
                           scores.detach().to(torch.float64).numpy().reshape(-1, 1)], axis=1).astype(dtype)
    index = np.arange(len(rows))
    count = _soften(rows, index, dtype(iou_threshold), dtype(sigma), dtype(min_score), method, dtype(offset))
    dets[:count].copy_(torch.from_numpy(rows[:count]))
    return torch.from_numpy(index[:count].copy())


@compiled
def _soften(rows, index, iou_threshold, sigma, min_score, method, offset):
    """Sort and lower ``rows`` (N, 5) in place, ``index`` (N,) with them; return how many stay.

    All in the precision of ``rows``. The last row takes the place of one that is dropped, as in mmcv, which decides
    the order of ties.
    """
    zero, one = np.float32(0), np.float32(1)  # literals would widen single precision
    i, count = 0, len(rows)
    while i < count:
        best = i
        for j in range(i + 1, count):
            if rows[j, 4] > rows[best, 4]:
                best = j
        index[i], index[best] = index[best], index[i]
        for k in range(5):
            rows[i, k], rows[best, k] = rows[best, k], rows[i, k]
        area = (rows[i, 2] - rows[i, 0] + offset) * (rows[i, 3] - rows[i, 1] + offset)
        j = i + 1
        while j < count:
            width = min(rows[i, 2], rows[j, 2]) - max(rows[i, 0], rows[j, 0]) + offset
            height = min(rows[i, 3], rows[j, 3]) - max(rows[i, 1], rows[j, 1]) + offset
            inter = max(width, zero) * max(height, zero)
            union = area + (rows[j, 2] - rows[j, 0] + offset) * (rows[j, 3] - rows[j, 1] + offset) - inter
            overlap = inter / union if union != zero else zero
            if method == 2:
                rows[j, 4] *= math.exp(-overlap * overlap / sigma)
            elif overlap >= iou_threshold:
                rows[j, 4] *= zero if method == 0 else one - overlap
            if rows[j, 4] < min_score:
                count -= 1
                rows[j] = rows[count]
                index[j] = index[count]
            else:
                j += 1
        i += 1
    return count


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Groups of NMS: for each kept box its own index and those of the boxes that it suppresses (IoU >= threshold).

    Args:
        dets: (N, 5) xyxy and score, on the CPU.
    """
    rows = dets.detach().to(torch.float64 if dets.dtype == torch.float64 else torch.float32).numpy()
    order = np.argsort(-rows[:, 4], kind='stable')
    groups = []
    while len(order):
        inside = box_iou(rows[order[:1], :4], rows[order, :4])[0] >= iou_threshold
        inside[0] = True
        groups.append(order[inside].tolist())
        order = order[~inside]
    return groups
