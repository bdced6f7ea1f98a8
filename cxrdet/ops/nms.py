"""Non-maximum suppression: hard, soft (Bodla et al., Soft-NMS, ICCV 2017) and grouped, as mmcv calls them.

Boxes: (N, 4) xyxy in pixels; with ``offset`` o, width = x2 - x1 + o (o = 1: the legacy inclusive corners).
"""
import numpy as np
import torch
from torch import Tensor

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
    count, i = len(rows), 0
    while i < count:
        best = i + int(np.argmax(rows[i:count, 4]))
        rows[[i, best]], index[[i, best]] = rows[[best, i]], index[[best, i]]
        rest = rows[i + 1:count]
        overlap = _iou_of_one(rows[i], rest, offset)
        if method == 0:
            rest[:, 4] *= overlap < iou_threshold
        elif method == 1:
            rest[:, 4] *= np.where(overlap >= iou_threshold, 1 - overlap, 1).astype(dtype)
        else:
            rest[:, 4] *= np.exp(-overlap * overlap / sigma)
        i += 1
        count = _drop_by_swapping(rows, index, i, count, rows[i:count, 4] >= min_score)
    dets[:count].copy_(torch.from_numpy(rows[:count]))
    return torch.from_numpy(index[:count].copy())


def _iou_of_one(one: np.ndarray, others: np.ndarray, offset: int) -> np.ndarray:
    width = np.minimum(one[2], others[:, 2]) - np.maximum(one[0], others[:, 0]) + offset
    height = np.minimum(one[3], others[:, 3]) - np.maximum(one[1], others[:, 1]) + offset
    inter = np.maximum(width, 0) * np.maximum(height, 0)
    area = (others[:, 2] - others[:, 0] + offset) * (others[:, 3] - others[:, 1] + offset)
    union = (one[2] - one[0] + offset) * (one[3] - one[1] + offset) + area - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=union != 0)


def _drop_by_swapping(rows: np.ndarray, index: np.ndarray, start: int, count: int, keep: np.ndarray) -> int:
    """Close the gaps left of [start, count) with rows from its end, as mmcv does (it decides the order of ties)."""
    places = np.arange(start, count)
    end = start + int(keep.sum())
    gaps = places[~keep & (places < end)]
    movers = places[keep & (places >= end)][::-1]
    rows[gaps], index[gaps] = rows[movers], index[movers]
    return end


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Groups of NMS: for each kept box its own index and those of the boxes that it suppresses (IoU >= threshold).

    Args:
        dets: (N, 5) xyxy and score, on the CPU.
    """
    rows = dets.detach().to(torch.float64 if dets.dtype == torch.float64 else torch.float32).numpy()
    order = np.argsort(-rows[:, 4], kind='stable')
    groups = []
    while len(order):
        overlap = _iou_of_one(rows[order[0]], rows[order], 0)
        inside = overlap >= iou_threshold
        inside[0] = True
        groups.append(order[inside].tolist())
        order = order[~inside]
    return groups
