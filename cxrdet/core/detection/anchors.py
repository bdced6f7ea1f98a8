"""Sizes and shapes of boxes against the anchors of a detector.

Sources: J. Redmon, A. Farhadi, "YOLO9000: Better, Faster, Stronger", CVPR 2017, section
2 (k-means over widths and heights with the distance 1 - IoU); S. Ren et al., "Faster
R-CNN", NeurIPS 2015, section 3.1.2 (an anchor learns a box from an IoU of 0.7, and
every box takes its best one).
"""
import numpy as np

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
_GOOD = 0.7  # from this IoU of shapes on a box is well covered by an anchor


def anchor_shapes(*, scales=(8., ), ratios=(0.5, 1., 2.), strides=(4, 8, 16, 32, 64)) -> np.ndarray:
    """Width and height (A, 2) in pixels of the anchors of MMDetection's generator; ratios are height over width."""
    sizes = np.multiply.outer(np.asarray(strides, np.float64), np.asarray(scales, np.float64)).reshape(-1, 1)
    root = np.sqrt(np.asarray(ratios, np.float64))
    return np.stack([(sizes / root).ravel(), (sizes * root).ravel()], axis=1)


def shape_iou(a, b) -> np.ndarray:
    """IoU (N, M) of boxes (N, 2) and (M, 2), width and height, laid on one centre."""
    a, b = np.asarray(a, np.float64).reshape(-1, 2), np.asarray(b, np.float64).reshape(-1, 2)
    inter = np.minimum(a[:, None], b).prod(axis=2)
    return inter / (a.prod(axis=1)[:, None] + b.prod(axis=1) - inter)


def cluster_shapes(shapes, k: int = 5, *, seed: int = 0) -> np.ndarray:
    """The k shapes (k, 2) nearest to all by 1 - IoU, by rising area; fewer where there are fewer different shapes."""
    shapes = np.asarray(shapes, np.float64).reshape(-1, 2)
    different = np.unique(shapes, axis=0)
    k = min(k, len(different))
    if not k:
        return np.zeros((0, 2))
    rng = np.random.default_rng(seed)
    centres = different[rng.integers(len(different), size=1)]
    while len(centres) < k:  # far from those that are there, as in k-means++
        far = (1 - shape_iou(different, centres).max(axis=1)) ** 2
        if not far.any():  # the rest differ in their last digit only
            break
        centres = np.append(centres, different[rng.choice(len(different), size=1, p=far / far.sum())], axis=0)
    for _ in range(100):
        nearest = shape_iou(shapes, centres).argmax(axis=1)
        moved = np.array([np.median(shapes[nearest == j], axis=0) if (nearest == j).any() else centres[j]
                          for j in range(len(centres))])
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres[np.argsort(centres.prod(axis=1))]


def anchor_advice(shapes) -> dict:
    """Box sizes and aspect ratios, how well the anchors of Faster R-CNN with FPN fit them, and which would fit better.

    Args:
        shapes: (N, 2) width and height of the boxes, in pixels, all above 0.

    Returns: ``boxes`` (number), ``size`` and ``ratio`` (percentiles of sqrt(area)
        and height / width), ``covered`` (share of boxes with a good anchor),
        ``mean_iou`` (with the best one), ``clusters`` (five shapes), ``ratios`` and
        ``base_scale`` (proposed for MMDetection's generator with strides 4 … 64),
        ``covered_then``. Empty without boxes.
    """
    shapes = np.asarray(shapes, np.float64).reshape(-1, 2)
    if not len(shapes):
        return {}
    size, ratio = np.sqrt(shapes.prod(axis=1)), shapes[:, 1] / shapes[:, 0]
    best = shape_iou(shapes, anchor_shapes()).max(axis=1)
    ratios = sorted({round(float(value), 2) for value in np.percentile(ratio, (10, 50, 90))})
    base = next((s for s in (8., 4., 2.) if 4 * s <= np.percentile(size, 5) * 1.25), 2.)
    then = shape_iou(shapes, anchor_shapes(scales=(base, base * 2 ** (1 / 3), base * 4 ** (1 / 3)), ratios=ratios))
    return {'boxes': len(shapes),
            'size': dict(zip(map(str, PERCENTILES), np.percentile(size, PERCENTILES).round(1).tolist())),
            'ratio': dict(zip(map(str, PERCENTILES), np.percentile(ratio, PERCENTILES).round(2).tolist())),
            'covered': float((best >= _GOOD).mean()), 'mean_iou': float(best.mean()),
            'clusters': cluster_shapes(shapes).round(1).tolist(), 'ratios': ratios, 'base_scale': base,
            'covered_then': float((then.max(axis=1) >= _GOOD).mean())}
