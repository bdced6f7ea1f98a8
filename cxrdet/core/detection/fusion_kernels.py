"""Loops over boxes for :mod:`cxrdet.core.detection.fusion`, compiled by Numba (:mod:`cxrdet.core.compiled`).

All kernels take C-contiguous float64 arrays whose boxes stand class by class: class g
has the rows ``starts[g]`` to ``starts[g + 1]``.
"""
import numpy as np

from cxrdet.core.compiled import compiled


@compiled
def cluster_by_mean(boxes, scores, owners, weights, starts, iou_thr, one_per_model):  # noqa: C901
    """Weighted boxes fusion: a box joins the cluster whose mean box it overlaps most, by more than ``iou_thr``.

    The mean box that decides is kept in single precision, as in the reference
    implementation: where an overlap equals the threshold up to rounding, both decide
    alike. What is returned is summed in double precision.

    Args:
        boxes, scores: (N, 4) xyxy with area and (N,), weights included; best score first within a class.
        owners: (N,) int64, index of the model that gave the box.
        weights: (T,) of the models.
        one_per_model: a cluster takes one box of each model.

    Returns: (M,) each, but for boxes (M, 4): boxes, sum and maximum of the scores,
        number of boxes, sum of their weights, sum of the weights of the models that
        took part, index of the class.
    """
    total, rounded = np.zeros((len(boxes), 4)), np.zeros((len(boxes), 4), np.float32)
    mean, area = np.zeros((len(boxes), 4)), np.zeros(len(boxes))
    score, best, weight = np.zeros(len(boxes)), np.zeros(len(boxes)), np.zeros(len(boxes))
    number, group = np.zeros(len(boxes), np.int64), np.zeros(len(boxes), np.int64)
    present = np.zeros((len(boxes), len(weights)), np.bool_)
    count = 0
    for g in range(len(starts) - 1):
        first = count
        for j in range(starts[g], starts[g + 1]):
            x1, y1, x2, y2 = boxes[j, 0], boxes[j, 1], boxes[j, 2], boxes[j, 3]
            own, match, overlap = (x2 - x1) * (y2 - y1), -1, iou_thr
            for c in range(first, count):
                width, height = min(mean[c, 2], x2) - max(mean[c, 0], x1), min(mean[c, 3], y2) - max(mean[c, 1], y1)
                if width > 0 and height > 0 and not (one_per_model and present[c, owners[j]]):
                    iou = width * height / (area[c] + own - width * height)
                    if iou > overlap:
                        match, overlap = c, iou
            if match < 0:
                match, count = count, count + 1
                group[match], best[match] = g, scores[j]
            score[match] += scores[j]
            best[match] = max(best[match], scores[j])
            weight[match] += weights[owners[j]]
            number[match] += 1
            present[match, owners[j]] = True
            for k in range(4):
                part = scores[j] * boxes[j, k]
                total[match, k] += part
                rounded[match, k] = np.float64(rounded[match, k]) + part
                if number[match] == 1:
                    mean[match, k] = boxes[j, k]
                elif score[match] > 0:
                    mean[match, k] = np.float32(np.float64(rounded[match, k]) / score[match])
            area[match] = (mean[match, 2] - mean[match, 0]) * (mean[match, 3] - mean[match, 1])
    models = np.zeros(count)
    for c in range(count):
        for t in range(len(weights)):
            if present[c, t]:
                models[c] += weights[t]
        if number[c] > 1 and score[c] > 0:
            for k in range(4):
                mean[c, k] = total[c, k] / score[c]
    return mean[:count], score[:count], best[:count], number[:count], weight[:count], models, group[:count]


@compiled
def cluster_by_seed(boxes, scores, starts, iou_thr):
    """Give every box to the better box (the seed) that it overlaps most, by more than ``iou_thr``; else it is a seed.

    Returns: seeds (M,) int64 as rows of ``boxes``; cluster (N,) int64 of each box; its
        overlap (N,) with the seed; index of the class (M,).
    """
    seeds, group = np.zeros(len(boxes), np.int64), np.zeros(len(boxes), np.int64)
    cluster, overlaps = np.zeros(len(boxes), np.int64), np.ones(len(boxes))
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    count = 0
    for g in range(len(starts) - 1):
        first = count
        for j in range(starts[g], starts[g + 1]):
            match, overlap = -1, iou_thr
            for c in range(first, count):
                s = seeds[c]
                width = min(boxes[s, 2], boxes[j, 2]) - max(boxes[s, 0], boxes[j, 0])
                height = min(boxes[s, 3], boxes[j, 3]) - max(boxes[s, 1], boxes[j, 1])
                if width > 0 and height > 0:
                    iou = width * height / (area[s] + area[j] - width * height)
                    if iou > overlap:
                        match, overlap = c, iou
            if match < 0:
                match, overlap, count = count, 1.0, count + 1
                seeds[match], group[match] = j, g
            cluster[j], overlaps[j] = match, overlap
    return seeds[:count], cluster, overlaps, group[:count]


@compiled
def vote(boxes, scores, owners, cluster, clusters, models):
    """Sum of the votes (M,) of soft voting, and of the boxes times the votes (M, 4): in each of the clusters
    (:func:`cluster_by_seed`), every model votes with the best of its boxes.
    """
    voted = np.zeros((clusters, models), np.bool_)
    score, total = np.zeros(clusters), np.zeros((clusters, 4))
    for j in range(len(boxes)):
        c = cluster[j]
        if not voted[c, owners[j]]:  # the boxes of a class come best first
            voted[c, owners[j]] = True
            score[c] += scores[j]
            for k in range(4):
                total[c, k] += scores[j] * boxes[j, k]
    return score, total


@compiled
def greedy_nms(boxes, scores, starts, iou_thr):
    """Rows of the boxes that stay, class by class, best first: those that no better box overlaps by > ``iou_thr``. The
    boxes of a class may stand in any order, here and below.
    """
    kept, count = np.zeros(len(boxes), np.int64), 0
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    gone = np.zeros(len(boxes), np.bool_)
    for g in range(len(starts) - 1):
        order = scores[starts[g]:starts[g + 1]].argsort()[::-1] + starts[g]
        for position in range(len(order)):
            i = order[position]
            if gone[i]:
                continue
            kept[count] = i
            count += 1
            for j in order[position + 1:]:
                width = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
                height = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
                if width > 0 and height > 0:
                    inter = width * height
                    gone[j] |= inter / (area[i] + area[j] - inter) > iou_thr
    return kept[:count]


@compiled
def overlapping(boxes, starts):
    """The pairs of boxes of one class that share area.

    Returns: ``first`` (N + 1,) int64; for row i, ``other[first[i]:first[i + 1]]`` (int64) are the rows that overlap it
        and ``iou``, in the same places, their overlaps.
    """
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    first, other, iou = np.zeros(len(boxes) + 1, np.int64), np.zeros(0, np.int64), np.zeros(0)
    for fill in (False, True):
        if fill:
            other, iou = np.zeros(first[-1], np.int64), np.zeros(first[-1])
        count = 0
        for g in range(len(starts) - 1):
            for i in range(starts[g], starts[g + 1]):
                for j in range(starts[g], starts[g + 1]):
                    width = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
                    height = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
                    if width > 0 and height > 0 and i != j:
                        if fill:
                            other[count], iou[count] = j, width * height / (area[i] + area[j] - width * height)
                        count += 1
                first[i + 1] = count
    return first, other, iou


@compiled
def soften(scores, starts, first, other, factors):
    """Soft-NMS: take the best box, lower the scores of those that overlap it, and so on.

    Args:
        first, other: from :func:`overlapping`.
        factors: in the places of ``other``, what a score is multiplied by.

    Returns: rows (N,) int64 class by class in the order in which they were taken, and their scores (N,) at that time.
    """
    rows, places, lowered = np.arange(len(scores)), np.arange(len(scores)), scores.copy()
    for g in range(len(starts) - 1):
        for i in range(starts[g], starts[g + 1]):
            best = i
            for j in range(i + 1, starts[g + 1]):
                if lowered[j] > lowered[best]:
                    best = j
            rows[i], rows[best] = rows[best], rows[i]
            lowered[i], lowered[best] = lowered[best], lowered[i]
            places[rows[i]], places[rows[best]] = i, best
            for k in range(first[rows[i]], first[rows[i] + 1]):
                if places[other[k]] > i:
                    lowered[places[other[k]]] *= factors[k]
    return rows, lowered
