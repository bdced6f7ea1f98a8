"""Pairing what was found with the ground truth, and the losses of the pairs."""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmdet.models.losses import QualityFocalLoss
from mmdet.utils import reduce_mean
from mmengine.model import BaseModule
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import box_convert, box_iou, generalized_box_iou

from cxrdet.core.errors import ConfigError, check_numbers
from cxrdet.registry import MODELS

from .decoder import Found


class Truth(NamedTuple):
    """The boxes of an image and the phrases that name them.

    Attributes:
        boxes: (G, 4) xyxy in pixels of the network's image.
        named: (G, P) bool, whether a phrase names a box.
        size: of the image without padding, (height, width).
    """

    boxes: Tensor
    named: Tensor
    size: tuple[int, int]


def truth_of(boxes: Tensor, labels: Tensor, phrases: int, size: tuple[int, int]) -> Truth:
    """Boxes (R, 4) with one phrase each, labels (R,) in 0 to ``phrases`` - 1, equal boxes made one."""
    if not len(boxes):
        return Truth(boxes.reshape(0, 4), boxes.new_zeros((0, phrases), dtype=torch.bool), size)
    single, row = torch.unique(boxes, dim=0, return_inverse=True)
    named = boxes.new_zeros((len(single), phrases), dtype=torch.bool)
    named[row, labels] = True
    return Truth(single, named, size)


def matching_cost(found: Found, truth: Truth, weights: dict[str, float]) -> Tensor:
    """What it costs to make a box found that of a box of the ground truth, as in Deformable DETR.

    Args:
        found: logits (..., N, P), boxes (..., N, 4).
        truth: of G boxes.
        weights: of the parts: ``cls``, the focal loss (alpha 0.25, gamma 2) of the phrases that name a box less that of
            its absence, the mean over these phrases; ``bbox``, L1 of cx, cy, w, h in parts of the image; ``giou``.

    Returns: (..., N, G).
    """
    score = found.logits.sigmoid()
    gain = 0.25 * (1 - score) ** 2 * -(score + 1e-12).log() - 0.75 * score ** 2 * -(1 - score + 1e-12).log()
    named = truth.named.to(score.dtype)
    cost = weights['cls'] * (gain @ named.T / named.sum(dim=1).clamp(min=1))
    height, width = truth.size
    scale = truth.boxes.new_tensor([width, height, width, height])
    cost = cost + weights['bbox'] * torch.cdist(found.boxes, box_convert(truth.boxes / scale, 'xyxy', 'cxcywh'), p=1)
    corners = box_convert(found.boxes.reshape(-1, 4), 'cxcywh', 'xyxy') * scale
    return cost - weights['giou'] * generalized_box_iou(corners, truth.boxes).reshape(cost.shape)


def assign(costs: Sequence[Tensor], repeats: int = 1) -> list[list[tuple[Tensor, Tensor]]]:
    """The cheapest one-to-one assignment for each matrix.

    Args:
        costs: (S, N, G) an image: S matrices.
        repeats: how often each of the G columns is assigned, less often where N is too small for it.

    Returns: for each image a list over S of (rows, columns), both (min(N, G * repeats),) int64, on the costs' device.
    """
    found = []
    flat = torch.cat([cost.detach().float().flatten() for cost in costs]).cpu() if costs else torch.zeros(0)
    start = 0
    for cost in costs:
        number, rows, columns = cost.shape
        part = flat[start:start + cost.numel()].reshape(cost.shape).nan_to_num(nan=1e6, posinf=1e6, neginf=-1e6).numpy()
        start += cost.numel()
        times = max(1, min(repeats, rows // max(columns, 1)))
        pairs = []
        for matrix in part:
            row, column = linear_sum_assignment(matrix.repeat(times, axis=1))
            pairs.append((torch.from_numpy(row).to(cost.device), torch.from_numpy(column // times).to(cost.device)))
        found.append(pairs)
    return found


@MODELS.register_module()
class PhraseLoss(BaseModule):
    """Hungarian matching, and losses of scores and boxes for each layer and for the tokens' proposals.

    All layers of all images are paired after one copy of their costs from the device. A score is compared with 1 for
    the phrases that name the box, with 0 for all others, those without a box in the image included; with
    ``QualityFocalLoss``, with the box's IoU in place of 1. Every part is divided by the number of boxes.

    Args:
        cls: loss of the scores: one of MMDetection's that takes targets in the shape of the logits
            (FocalLoss, QualityFocalLoss, CrossEntropyLoss with ``use_sigmoid``).
        bbox: loss of cx, cy, w, h in parts of the image.
        iou: losses of boxes in pixels, by name: GIoULoss, IoULoss …
        costs: weights of the matching, see :func:`matching_cost`.
        token_repeats: how many tokens learn to propose each box.
        token_weight: of the losses of these proposals.

    Raises: ConfigError for numbers out of range or unknown costs.
    """

    def __init__(self, cls: dict | None = None, *, bbox: dict | None = None, iou: dict | None = None,
                 costs: dict | None = None, token_repeats: int = 4, token_weight: float = 1.) -> None:
        super().__init__()
        check_numbers('PhraseLoss', token_repeats=(token_repeats, '[1, inf)'), token_weight=(token_weight, '[0, inf)'))
        self.costs = {'cls': 2., 'bbox': 5., 'giou': 2., **(costs or {})}
        if unknown := self.costs.keys() - {'cls', 'bbox', 'giou'}:
            raise ConfigError(f'PhraseLoss: costs are cls, bbox and giou, got {", ".join(sorted(unknown))}')
        self.token_repeats, self.token_weight = token_repeats, token_weight
        self.cls = MODELS.build(cls or dict(type='mmdet.FocalLoss', loss_weight=1.))
        self.bbox = MODELS.build(bbox or dict(type='mmdet.L1Loss', loss_weight=5.))
        iou = dict(giou=dict(type='mmdet.GIoULoss', loss_weight=2.)) if iou is None else iou
        self.iou = {name: MODELS.build(part) for name, part in iou.items()}

    def forward(self, layers: Sequence[Found], proposed: Found | None, truths: Sequence[Truth]) -> dict[str, Tensor]:
        """Losses by name: ``loss_cls``, ``loss_bbox``, ``loss_giou`` … of the last layer, ``d0.loss_cls`` … of those
        before, ``token.loss_cls`` … of the proposals.

        Args:
            layers: of the decoder, each (B, N, P) and (B, N, 4).
            proposed: of the tokens, (B, T, P) and (B, T, 4), or None.
            truths: B of them.
        """
        stacked = Found(*(torch.stack(part, dim=1) for part in zip(*layers)))
        losses = {}
        pairs = self._pairs(stacked, truths, 1)
        for number, found in enumerate(layers):
            prefix = '' if number == len(layers) - 1 else f'd{number}.'
            own = [image[number] for image in pairs]
            losses |= {f'{prefix}loss_{name}': value for name, value in self._losses(found, truths, own).items()}
        if proposed is not None and self.token_weight:
            own = [image[0] for image in self._pairs(Found(*(part[:, None] for part in proposed)), truths,
                                                     self.token_repeats)]
            losses |= {f'token.loss_{name}': self.token_weight * value
                       for name, value in self._losses(proposed, truths, own).items()}
        return losses

    def _pairs(self, found: Found, truths: Sequence[Truth], repeats: int) -> list[list[tuple[Tensor, Tensor]]]:
        with torch.no_grad():
            return assign([matching_cost(Found(logits[..., :truth.named.shape[1]].float(), boxes.float()), truth,
                                         self.costs)
                           for logits, boxes, truth in zip(*found, truths)], repeats)

    def _losses(self, found: Found, truths: Sequence[Truth],
                pairs: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        logits = found.logits.float()
        image = torch.cat([torch.full_like(rows, number) for number, (rows, _) in enumerate(pairs)])
        rows = torch.cat([rows for rows, _ in pairs])
        boxes = found.boxes.float()[image, rows]
        scale = torch.cat([boxes.new_tensor([[*truth.size[::-1], *truth.size[::-1]]]).expand(len(rows), 4)
                           for truth, (rows, _) in zip(truths, pairs)])
        wanted = torch.cat([truth.boxes[columns] for truth, (_, columns) in zip(truths, pairs)]).to(boxes)
        count = reduce_mean(boxes.new_tensor(float(len(rows)))).clamp(min=1)
        corners = box_convert(boxes, 'cxcywh', 'xyxy') * scale
        target = torch.zeros_like(logits)
        quality = torch.ones(len(rows), device=logits.device)
        if isinstance(self.cls, QualityFocalLoss):
            quality = box_iou(corners.detach(), wanted).diagonal().clamp(min=0.01)  # 0 would mean "no phrase"
        start = 0
        for number, (truth, (own, columns)) in enumerate(zip(truths, pairs)):
            share = quality[start:start + len(own), None]
            target[number, own, :truth.named.shape[1]] = truth.named[columns].to(target) * share
            start += len(own)
        losses = {'cls': self.cls(logits.flatten(0, 1), target.flatten(0, 1), avg_factor=count),
                  'bbox': self.bbox(boxes, box_convert(wanted / scale, 'xyxy', 'cxcywh'), avg_factor=count)}
        return losses | {name: part(corners, wanted, avg_factor=count) for name, part in self.iou.items()}
