"""Fusion of the boxes that several models, or several views of one image, give for the same objects.

Every function takes one entry per model: boxes (N_i, 4) xyxy in any unit, scores
(N_i,) and labels (N_i,); it returns the fused boxes (M, 4), scores (M,) and labels
(M,) as the kind of array that came in (NumPy arrays, or torch tensors on the device
of the first), in its precision. Only boxes of one label are ever brought together.
Boxes without area are left out; inverted or infinite ones, shapes that do not fit and
values out of range are ValueErrors.

The loops are compiled (:mod:`cxrdet.core.detection.fusion_kernels`) and run in double
precision on the CPU. The results are those of ``ensemble-boxes`` 1.0.9 (R. Solovyev,
MIT licence), ties included, but boxes need no normalisation.
"""
import math
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from cxrdet.core.detection import fusion_kernels as kernels
from cxrdet.core.errors import ConfigError, check_choice

Array = Any  # numpy.ndarray or torch.Tensor
Fused = tuple[Array, Array, Array]
CONF_TYPES = ('avg', 'max', 'box_and_model_avg', 'absent_model_aware_avg')


def weighted_boxes_fusion(boxes: Sequence[Array], scores: Sequence[Array], labels: Sequence[Array],
                          weights: Sequence[float] | None = None, iou_thr: float = 0.55, skip_box_thr: float = 0.0,
                          conf_type: str = 'avg', allows_overflow: bool = False,
                          one_per_model: bool = False) -> Fused:
    """Weighted boxes fusion: boxes that overlap become their mean, weighted by score; best first.

    Source: R. Solovyev, W. Wang, T. Gabruseva, "Weighted boxes fusion: Ensembling boxes
    from different object detection models", Image and Vision Computing 107, 2021,
    section 3, equations 1 to 6. Boxes are taken by falling score; each joins the
    cluster whose mean it overlaps most, or founds one. Scores of clusters of several
    boxes are in single precision.

    Args:
        boxes, scores, labels: one entry per model, see the head of this file; scores >= 0.
        weights: of the models, >= 0 and not all 0. Default: 1 each.
        iou_thr: overlap above which boxes are of one object, in [0, 1].
        skip_box_thr: boxes with a lower score are left out (before the weights are applied).
        conf_type: the score of a cluster of n boxes from T models, s_i times the weight w_i of its model each:
            'avg': mean of s times min(T, n) / sum of all weights;
            'max': maximum of s / largest weight;
            'box_and_model_avg': sum of s / sum of w over the boxes, times the share of the weights of the models
            that took part;
            'absent_model_aware_avg': sum of s / (sum of w over the boxes + weights of the models that
            took no part).
        allows_overflow: with 'avg', n / sum of weights without the cap at T, so that a score may exceed 1.
        one_per_model: a cluster takes one box of each model, its best; another box of
            that model at the same place joins the next cluster or founds one (own
            addition; off: as in the paper). Models that end in soft-NMS give such boxes
            with lowered scores, which pull the means of the paper's clusters down.

    Returns: boxes (M, 4), scores (M,) and labels (M,), best first.
    Raises: ValueError for lengths or shapes that do not fit, values out of range, or an unknown ``conf_type``.
    """
    check_choice('conf_type', conf_type, CONF_TYPES)
    given = _gather(boxes, scores, labels, weights, iou_thr)
    part = given.part.where(given.part.scores >= skip_box_thr).weighted(given.weights).by_class(best_first=True)
    mean, total, best, number, weight, present, group = kernels.cluster_by_mean(
        part.boxes, part.scores, part.owners, given.weights, part.starts, float(iou_thr), bool(one_per_model))
    several = number > 1
    score = _single(best if conf_type == 'max' else total / number, several)
    weight, whole = _single(weight, several), given.weights.sum()
    if conf_type == 'max':
        score = score / given.weights.max(initial=0)
    elif conf_type == 'box_and_model_avg':
        score = np.divide(score * number, weight, out=np.zeros_like(score), where=weight > 0) * present / whole
    elif conf_type == 'absent_model_aware_avg':
        score = score * number / (weight + (whole - present))
    else:
        score = score * (number if allows_overflow else np.minimum(number, len(given.weights))) / whole
    order = score.argsort()[::-1]
    return given.restore(mean[order], score[order], part.classes[group[order]])


def non_maximum_weighted(boxes: Sequence[Array], scores: Sequence[Array], labels: Sequence[Array],
                         weights: Sequence[float] | None = None, iou_thr: float = 0.55,
                         skip_box_thr: float = 0.0) -> Fused:
    """Non-maximum weighted: the best box and those that overlap it become their mean, weighted by score times overlap.

    Source: H. Zhou et al., "CAD: Scale invariant framework for real-time object
    detection", ICCV workshops 2017, section 3.3. The score, in single precision, is the
    best one, times the weight of its model / largest weight. Arguments and order as for
    :func:`weighted_boxes_fusion`.

    Raises: ValueError as :func:`weighted_boxes_fusion`.
    """
    given = _gather(boxes, scores, labels, weights, iou_thr)
    part = given.part.where(given.part.scores >= skip_box_thr)
    part = part.weighted(given.weights / given.weights.max(initial=0)).by_class(best_first=True)
    seeds, cluster, overlap, group = kernels.cluster_by_seed(part.boxes, part.scores, part.starts, float(iou_thr))
    shares = part.scores * overlap
    total = np.bincount(cluster, shares, len(seeds))
    fused = np.stack([np.bincount(cluster, shares * side, len(seeds)) for side in part.boxes.T], 1)
    fused = np.where(total[:, None] > 0, fused / np.where(total > 0, total, 1)[:, None], part.boxes[seeds])
    score = part.scores[seeds].astype(np.float32)
    order = score.argsort()[::-1]
    return given.restore(fused[order], score[order], part.classes[group[order]])


def nms(boxes: Sequence[Array], scores: Sequence[Array], labels: Sequence[Array],
        weights: Sequence[float] | None = None, iou_thr: float = 0.5) -> Fused:
    """Greedy non-maximum suppression over the boxes of all models: of boxes that overlap, the best one stays.

    Arguments as for :func:`weighted_boxes_fusion`; with ``weights`` a score is multiplied by its model's share of their
    sum. Boxes are ordered by label, then best first.

    Raises: ValueError as :func:`weighted_boxes_fusion`.
    """
    given = _gather(boxes, scores, labels, weights, iou_thr)
    part = given.shared().by_class()
    kept = kernels.greedy_nms(part.boxes, part.scores, part.starts, float(iou_thr))
    return given.restore(part.boxes[kept], part.scores[kept], part.labels[kept])


def soft_nms(boxes: Sequence[Array], scores: Sequence[Array], labels: Sequence[Array],
             weights: Sequence[float] | None = None, iou_thr: float = 0.5, sigma: float = 0.5, thresh: float = 0.001,
             method: str = 'gaussian', decayed: bool = False) -> Fused:
    """Soft-NMS over the boxes of all models: boxes that overlap a better one lose score, and go when little is left.

    Source: N. Bodla et al., "Soft-NMS: Improving object detection with one line of code", ICCV 2017, section 3. Boxes
    are ordered by label, then by falling lowered score.

    Args:
        boxes, scores, labels, weights: as for :func:`nms`.
        iou_thr: for 'linear': overlap above which a score is lowered.
        sigma: for 'gaussian', > 0.
        thresh: boxes stay that have more score left.
        method: 'gaussian', exp(-iou^2 / sigma), or 'linear', 1 - iou.
        decayed: return the lowered scores, as in the paper. Off: the scores that came
            in, as ``ensemble-boxes`` does (they are no measure of rank any more).

    Raises: ValueError as :func:`weighted_boxes_fusion`, or for an unknown method or sigma <= 0.
    """
    if method not in ('gaussian', 'linear') or not sigma > 0:
        raise ValueError(f'method must be gaussian or linear and sigma > 0, got {method!r} and {sigma}')
    given = _gather(boxes, scores, labels, weights, iou_thr)
    part = given.shared().by_class()
    first, other, iou = kernels.overlapping(part.boxes, part.starts)
    factors = np.exp(-(iou * iou) / sigma) if method == 'gaussian' else np.where(iou > iou_thr, 1 - iou, 1.0)
    rows, lowered = kernels.soften(part.scores, part.starts, first, other, factors)
    rows, lowered = rows[lowered > thresh], lowered[lowered > thresh]
    return given.restore(part.boxes[rows], lowered if decayed else part.scores[rows], part.labels[rows])


def soft_voting(boxes: Sequence[Array], scores: Sequence[Array], labels: Sequence[Array],
                weights: Sequence[float] | None = None, iou_thr: float = 0.5, skip_box_thr: float = 0.0) -> Fused:
    """Soft voting: the score of an object is the mean of what all models say of it, 0 for a model that misses it.

    Own definition, the sum rule of J. Kittler et al., "On combining classifiers", IEEE
    TPAMI 20(3), 1998, section 2.2, with absent boxes as probability 0. Boxes that
    overlap a better box of their label are of the same object; there each model votes
    once, with its best box. The box is the mean of these boxes, weighted by their
    votes; the score is the sum of weight times score / sum of weights. Unlike weighted
    boxes fusion, several boxes of one model count once, and the best box, not the
    mean, draws others. Arguments and order as for :func:`weighted_boxes_fusion`.

    Raises: ValueError as :func:`weighted_boxes_fusion`.
    """
    given = _gather(boxes, scores, labels, weights, iou_thr)
    part = given.part.where(given.part.scores >= skip_box_thr).weighted(given.weights).by_class(best_first=True)
    seeds, cluster, _, group = kernels.cluster_by_seed(part.boxes, part.scores, part.starts, float(iou_thr))
    score, total = kernels.vote(part.boxes, part.scores, part.owners, cluster, len(seeds), len(given.weights))
    voted = score > 0
    fused = np.where(voted[:, None], total / np.where(voted, score, 1)[:, None], part.boxes[seeds])
    order = np.argsort(-score, kind='stable')
    return given.restore(fused[order], score[order] / given.weights.sum(), part.classes[group[order]])


METHODS: dict[str, Callable[..., Fused]] = {
    'wbf': weighted_boxes_fusion, 'nmw': non_maximum_weighted, 'nms': nms, 'soft_nms': soft_nms, 'voting': soft_voting}
PRESETS: dict[str, tuple[str, dict]] = {  # further names that fuse() takes: a method and its arguments
    'wbf_one_per_model': ('wbf', dict(one_per_model=True)),  # for models that end in soft-NMS
    'wbf_confident': ('wbf', dict(iou_thr=0.5, skip_box_thr=0.3)),  # few false alarms; AP loses what lies below 0.3
}
FUSIONS = (*METHODS, *PRESETS)

_NONE = np.zeros(0, np.int64)


class _Part(NamedTuple):
    """Boxes of all models in one row of arrays; ``starts`` and ``classes`` once they stand class by class."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    owners: np.ndarray
    starts: np.ndarray = _NONE
    classes: np.ndarray = _NONE

    def where(self, rows: np.ndarray) -> '_Part':
        return _Part(self.boxes[rows], self.scores[rows], self.labels[rows], self.owners[rows])

    def weighted(self, weights: np.ndarray) -> '_Part':
        return self._replace(scores=self.scores * weights[self.owners])

    def by_class(self, best_first: bool = False) -> '_Part':
        """Bring the boxes of a class together: the classes in rising order or, ``best_first``, in that of the rows.

        The sort is NumPy's default one, as in the reference: of equal scores the same comes first.
        """
        classes, first, inverse = np.unique(self.labels, return_index=True, return_inverse=True)
        if best_first:
            ranks = np.argsort(first)
            classes, inverse = classes[ranks], np.argsort(ranks)[inverse]
        order = np.argsort(inverse, kind='stable')
        starts = np.concatenate([[0], np.cumsum(np.bincount(inverse, minlength=len(classes)))]).astype(np.int64)
        if best_first:
            for a, b in zip(starts[:-1], starts[1:]):
                rows = order[a:b]
                order[a:b] = rows[self.scores[rows].argsort()[::-1]]
        return self.where(order)._replace(starts=starts, classes=classes)


class _Given(NamedTuple):
    """Checked arguments."""

    part: _Part  # the boxes with an area
    weights: np.ndarray  # (T,) float64
    equal: bool  # no weights were given
    likes: Sequence[Array]  # boxes, scores and labels of one model, whose kind the results take

    def shared(self) -> _Part:
        """Scores times the model's share of all weights, or as they are where no weights were given."""
        part, weights = self.part, self.weights
        return part if self.equal else part._replace(scores=part.scores * weights[part.owners] / weights.sum())

    def restore(self, *results: np.ndarray) -> Fused:
        return tuple(_like(result, like) for result, like in zip(results, self.likes))


def _gather(boxes: Sequence[Array], scores: Sequence[Array], labels: Sequence[Array],
            weights: Sequence[float] | None, iou_thr: float) -> _Given:
    """Check the arguments and join the models' arrays in double precision."""
    models = len(boxes)
    if not models == len(scores) == len(labels):
        raise ValueError(f'expected boxes, scores and labels of the same models, got {models}, {len(scores)} and '
                         f'{len(labels)} entries')
    if not 0 <= iou_thr <= 1:
        raise ValueError(f'iou_thr must lie in [0, 1], got {iou_thr}')
    shares = np.ones(models) if weights is None else np.asarray(weights, np.float64)
    if shares.shape != (models,):
        raise ValueError(f'expected one weight per model, {models}, got shape {shares.shape}')
    if models and not ((shares >= 0).all() and np.isfinite(shares).all() and shares.any()):
        raise ValueError(f'weights must be finite, >= 0 and not all 0, got {shares.tolist()}')
    rows = [_model(i, *(_numpy(column) for column in model)) for i, model in enumerate(zip(boxes, scores, labels))]
    owners = np.repeat(np.arange(models), [len(row[1]) for row in rows])
    kinds = ((np.zeros((0, 4)), np.float64), (np.zeros(0), np.float64), (np.zeros(0), np.int64))
    joined = [np.concatenate([kind, *(row[i] for row in rows)]) for i, (kind, _) in enumerate(kinds)]
    with np.errstate(invalid='ignore'):
        part = _Part._make((*(column.astype(dtype, copy=False) for column, (_, dtype) in zip(joined, kinds)), owners,
                            _NONE, _NONE))
    sides = part.boxes[:, 2:] - part.boxes[:, :2]
    if not (np.isfinite(sides).all() and (sides >= 0).all() and np.isfinite(part.scores).all()
            and (part.scores >= 0).all() and (part.labels == joined[2]).all()):
        _refuse(part, joined[2])
    area = sides[:, 0] * sides[:, 1]
    part = part if (area > 0).all() else part.where(area > 0)
    likes = [_first(column) for column in (boxes, scores, labels)] if models else [kind for kind, _ in kinds]
    return _Given(part, shares, weights is None, likes)


def _first(column: Sequence[Array]) -> Array:
    """The first array that holds anything, whose kind the results take."""
    return next((array for array in column if len(array)), column[0])


def _model(i: int, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ...]:
    boxes = boxes.reshape(0, 4) if boxes.size == 0 else boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1] or labels.shape != scores.shape:
        raise ValueError(f'model {i}: expected boxes (N, 4), scores (N,) and labels (N,), got {boxes.shape}, '
                         f'{scores.shape} and {labels.shape}')
    return boxes, scores, labels


def _refuse(part: _Part, labels: np.ndarray) -> None:
    boxes, scores = part.boxes, part.scores
    faults = {'a corner is not finite': ~np.isfinite(boxes).all(1),
              'expected x1 <= x2 and y1 <= y2 (are these x, y, width, height?)': (boxes[:, 2:] < boxes[:, :2]).any(1),
              'the score must be finite and >= 0': ~(np.isfinite(scores) & (scores >= 0)),
              'the label must be a whole number': part.labels != labels}
    fault, where = next(item for item in faults.items() if item[1].any())
    row = int(where.argmax())
    raise ValueError(f'model {part.owners[row]}, box {row - int((part.owners < part.owners[row]).sum())}: {fault}, got '
                     f'{boxes[row].tolist()} with score {scores[row]} and label {labels[row]}')


def is_tensor(array: Array) -> bool:
    torch = sys.modules.get('torch')
    return torch is not None and isinstance(array, torch.Tensor)


def _numpy(array: Array) -> np.ndarray:
    if not is_tensor(array):
        return np.asarray(array)
    array = array.detach().cpu()
    return (array.double() if array.is_floating_point() else array).numpy()


def _like(result: np.ndarray, like: Array) -> Array:
    """``result`` as the kind of array that ``like`` is; of whole numbers floats."""
    if is_tensor(like):
        torch = sys.modules['torch']
        whole = result.dtype.kind == 'f' and not like.is_floating_point()
        return torch.from_numpy(np.ascontiguousarray(result)).to(like.device, torch.float32 if whole else like.dtype)
    dtype = np.asarray(like).dtype
    return result.astype(np.float64 if result.dtype.kind == 'f' and dtype.kind != 'f' else dtype)


def _single(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    return np.where(where, values.astype(np.float32), values)


def fuse(boxes: Sequence[Array], scores: Sequence[Array], labels: Sequence[Array], *, fusion: str = 'wbf',
         weights: Sequence[float] | None = None, **options) -> Fused:
    """Fuse by name, best box first whatever the method.

    A method goes by its own defaults, which are those of ``ensemble-boxes``; but
    soft-NMS gives its lowered scores here.

    Args:
        boxes, scores, labels, weights: as for :func:`weighted_boxes_fusion`.
        fusion: a key of ``METHODS``, or of ``PRESETS``:
            'wbf_one_per_model': weighted boxes fusion with ``one_per_model``, for models that end in soft-NMS;
            'wbf_confident': at IoU 0.5 over boxes that score 0.3 and more. For pictures and counts: what is left out
            counts as missed, so that average precision, which looks at all scores, falls.
        **options: its other arguments, which go before those of a preset.

    Raises: ValueError for an unknown name or option, and as the method itself.
    """
    check_options(fusion, options)
    name, preset = PRESETS.get(fusion, (fusion, {}))
    usual = dict(decayed=True) if name == 'soft_nms' else {}
    boxes, scores, labels = METHODS[name](boxes, scores, labels, weights, **(usual | preset | options))
    order = best_first(scores)
    return boxes[order], scores[order], labels[order]


def fuse_known(boxes: Sequence[Array], scores: Sequence[Array], labels: Sequence[Array],
               known: Sequence[Collection[int]], *, fusion: str = 'wbf', weights: Sequence[float] | None = None,
               most: int | None = None, **options) -> Fused:
    """Fuse the boxes of each label over the models that know it, so that the silence of the others counts for nothing.

    Args:
        boxes, scores, labels, fusion, weights, **options: as for :func:`fuse`.
        known: the labels that each model knows; its boxes of other labels are left out.
        most: how many of the fused boxes stay, the best. Default: all.

    Raises: ValueError if no model that has a weight knows a label, and as :func:`fuse`.

    Returns: boxes (M, 4), scores (M,) and labels (M,), best first.
    """
    columns = boxes, scores, labels
    if len({len(column) for column in (*columns, known, *([] if weights is None else [weights]))}) > 1:
        raise ValueError('expected boxes, scores, labels, known labels and weights of the same models')
    groups: dict[tuple[int, ...], list[int]] = {}
    for label in sorted(set().union(*known)):
        groups.setdefault(tuple(i for i, own in enumerate(known) if label in own), []).append(label)
    given, parts = [list(map(_numpy, column)) for column in columns], []
    for models, chosen in groups.items():
        shares = None if weights is None else [weights[i] for i in models]
        if shares is None or any(shares):
            rows = [np.isin(given[2][i], chosen) for i in models]
            parts.append(fuse(*([column[i][row] for i, row in zip(models, rows)] for column in given),
                              fusion=fusion, weights=shares, **options))
    if not parts:
        raise ValueError(f'no model with a weight knows a label, got known={list(map(list, known))} and '
                         f'weights={weights}')
    joined = [_like(np.concatenate(part), _first(column)) for part, column in zip(zip(*parts), columns)]
    order = best_first(joined[1])[:most]
    return joined[0][order], joined[1][order], joined[2][order]


def fusable(boxes: Array, scores: Array) -> Array:
    """Where boxes (N, 4) have finite corners in their order, x1 <= x2 and y1 <= y2, and
    scores (N,) are finite: a mask (N,) of the kind of array that came in. Negative
    scores pass, as fusion refuses them with reason: they are no scores.
    """
    finite = (abs(boxes) < math.inf).all(1) & (abs(scores) < math.inf)
    return finite & (boxes[:, 2:] >= boxes[:, :2]).all(1)


def best_first(scores: Array) -> Array:
    """Rows by falling score, equal ones in their order."""
    return scores.argsort(stable=True, descending=True) if is_tensor(scores) else np.argsort(-scores, kind='stable')


def check_fusion(fusion: str, options: dict, *, where: str) -> None:
    """Raise ConfigError, which begins with ``where``, for names and values that :func:`fuse` refuses."""
    try:
        check_options(fusion, options)
        fuse([np.array([[0., 0., 1., 1.]])], [np.array([0.5])], [np.array([0])], fusion=fusion, **options)
    except TypeError as error:
        raise ConfigError(f'{where}: fusion "{fusion}" cannot take {options}: {error}') from error
    except ValueError as error:
        raise ConfigError(f'{where}: {error}') from error


def check_options(fusion: str, options: Collection[str]) -> None:
    """Raise ValueError if there is no such method or preset, or it does not take one of the ``options``."""
    check_choice('fusion', fusion, FUSIONS)
    code = METHODS[PRESETS.get(fusion, (fusion, {}))[0]].__code__
    known = code.co_varnames[4:code.co_argcount]
    for name in options:
        check_choice(f'an option of fusion "{fusion}"', name, known)
