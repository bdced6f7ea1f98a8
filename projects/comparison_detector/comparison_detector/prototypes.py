"""Prototypes of classes and how regions are compared with them: functions over tensors.

Source: Y. Liang et al., "Comparison detector for cervical cell/clumps detection in the limited data scenario",
Neurocomputing 437, 2021, and its code; where they differ, the code. N images or regions, D channels, C classes, S
prototypes a class, h x w positions (7 x 7).
"""
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, normalize


def pool_levels(levels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Maps of the levels of a pyramid (N, D, H_l, W_l), each brought to ``size`` by area, and their mean (N, D, h, w),
    in float32 at least."""
    kind = torch.promote_types(levels[0].dtype, torch.float32)
    return torch.stack([adaptive_avg_pool2d(level.to(kind), size) for level in levels]).mean(dim=0)


def class_prototypes(features: Tensor, labels: Tensor, num_classes: int, *, per_image: int = 0) -> Tensor:
    """Prototypes of all classes, (C, S, D, h, w), from the features of their reference images.

    Args:
        features: (M, D, h, w), one a reference image.
        labels: (M,) int64, the class of each, within 0 .. C - 1.
        num_classes: C.
        per_image: 0: the mean over the images of a class is its one prototype (S = 1). S > 0: each image gives one;
            every class must have S of them.

    Raises:
        ValueError: A class has no image, or with ``per_image`` not S of them.
    """
    counts = torch.bincount(labels, minlength=num_classes)
    if len(counts) != num_classes or not counts.all() or (per_image and (counts != per_image).any()):
        raise ValueError(f'expected {per_image or "at least one"} image for each of {num_classes} classes, got '
                         f'{counts.tolist()}')
    if per_image:
        order = torch.sort(labels, stable=True).indices
        return features[order].reshape(num_classes, per_image, *features.shape[1:])
    sums = features.new_zeros(num_classes, *features.shape[1:]).index_add(0, labels, features)
    return (sums / counts.to(sums).reshape(-1, 1, 1, 1)).unsqueeze(1)


def squared_distances(features: Tensor, prototypes: Tensor, weight: Tensor) -> Tensor:
    """``sum w (f - p)^2`` over channels and positions, of each region with each prototype: (N, P).

    It is one convolution of the size of the maps over ``(f - p)^2``, without its bias, which would move all classes
    alike. Computed as ``w f^2 - 2 f (w p) + w p^2``, which needs no map for each pair, in float32 at least.

    Args:
        features: (N, D, h, w).
        prototypes: (P, D, h, w).
        weight: (D, h, w), of any sign.
    """
    kind = torch.promote_types(features.dtype, torch.float32)
    with torch.autocast(features.device.type, enabled=False):
        f, p, w = features.flatten(1).to(kind), prototypes.flatten(1).to(kind), weight.flatten().to(kind)
        middle = p.mean(dim=0)  # the distance does not know it, rounding does
        f, p = f - middle, p - middle
        return (f.square() @ w)[:, None] - 2 * f @ (p * w).T + (p.square() @ w)[None]


def cosines(features: Tensor, prototypes: Tensor) -> Tensor:
    """Cosine of each region with each prototype, all channels and positions as one vector, in [-1, 1]: (N, P).

    Shapes are those of :func:`squared_distances`.
    """
    kind = torch.promote_types(features.dtype, torch.float32)
    with torch.autocast(features.device.type, enabled=False):
        f, p = (normalize(maps.flatten(1).to(kind), dim=1) for maps in (features, prototypes))
        return f @ p.T


def merge_references(scores: Tensor, how: str) -> Tensor:
    """Scores with the S prototypes of each class (N, C, S) as one of each class (N, C): the ``'max'`` or ``'mean'``."""
    return scores.amax(dim=2) if how == 'max' else scores.mean(dim=2)
