"""Losses of multi-label classifiers that leave unknown labels out: binary cross-entropy, focal, asymmetric.

A label is 1, 0 or NaN (unknown). What an unknown label stands for has no influence: neither on the value nor, exactly,
on any gradient. The elementwise formulas of the focal and the asymmetric loss are those of MMPretrain.
"""
from collections.abc import Sequence

import torch
from mmpretrain.models.losses.asymmetric_loss import asymmetric_loss
from mmpretrain.models.losses.focal_loss import sigmoid_focal_loss
from mmpretrain.models.losses.utils import weight_reduce_loss
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from cxrdet.core.errors import ConfigError, check_choice, check_numbers
from cxrdet.registry import MODELS


@MODELS.register_module()
class MaskedBCELoss(nn.Module):
    """Binary cross-entropy with logits over the known labels, and the frame of the other masked losses.

    For an element with logit x and label t, ``e(x, t) = (1 + (pos_weight - 1) t) l(x, t)`` with ``l`` the plain loss,
    here ``-t log(sigmoid(x)) - (1 - t) log(1 - sigmoid(x))``. With ``smoothing`` s the label is taken to be wrong with
    probability s / 2: ``(1 - s/2) e(x, t) + (s/2) e(x, 1 - t)``. For cross-entropy this is the same as the label
    ``t (1 - s) + s / 2`` (Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016, section 7, for two
    outcomes), and it has a meaning for every other loss, too. The arithmetic is float32 or better, under autocast too.

    Args:
        pos_weight: (C,) weight of each class's positives, or one number for all; ``cxrdet.PositiveWeightHook`` sets it
            from the training set. It is no part of checkpoints.
        smoothing: s, within 0 .. 1.
        reduction: 'mean' (over the known elements), 'sum' or 'none'.
        loss_weight: Factor of the result.

    Raises:
        ConfigError: If an argument is out of range.
    """

    def __init__(self, pos_weight: float | Sequence[float] | None = None, smoothing: float = 0.0, *,
                 reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__()
        name = type(self).__name__
        check_numbers(name, smoothing=(smoothing, '[0, 1]'))
        check_choice(f'{name}: reduction', reduction, ('mean', 'sum', 'none'))
        weights = None if pos_weight is None else torch.as_tensor(pos_weight, dtype=torch.float32)
        if weights is not None and not (weights > 0).all():
            raise ConfigError(f'{name}: pos_weight must be above 0, got {pos_weight}.')
        self.smoothing, self.reduction, self.loss_weight = smoothing, reduction, loss_weight
        self.register_buffer('pos_weight', weights, persistent=False)

    def elementwise(self, logits: Tensor, target: Tensor) -> Tensor:
        """The plain loss ``l`` of each element, (N, C) and (N, C) to (N, C); labels without NaN."""
        return binary_cross_entropy_with_logits(logits, target, reduction='none')

    def forward(self, cls_score: Tensor, target: Tensor, weight: Tensor | None = None, avg_factor: float | None = None,
                reduction_override: str | None = None) -> Tensor:
        """The loss of a batch.

        Args:
            cls_score: (N, C) logits.
            target: (N, C) labels within 0 .. 1 (soft ones come from mixing images), NaN where unknown.
            weight: (N,) or (N, C) factor of each element; the mean still divides by the number of known elements.
            avg_factor: Divide the sum by this number instead.
            reduction_override: Takes the place of ``reduction``.

        Returns:
            A scalar, or (N, C) with 0 where the label is unknown for 'none'. Without a known label the scalar is 0 and
            its gradient, too.

        Raises:
            ValueError: If the shapes do not fit together.
        """
        if cls_score.shape != target.shape:
            raise ValueError(f'{type(self).__name__}: the scores are {tuple(cls_score.shape)}, the labels '
                             f'{tuple(target.shape)}; both must be (N, C).')
        known = ~target.isnan()
        with torch.autocast(cls_score.device.type, enabled=False):
            precise = torch.promote_types(cls_score.dtype, torch.float32)
            logits = cls_score.to(precise).masked_fill(~known, 0.0)  # an infinite one would make 0 x inf of it
            labels, wrong = target.to(precise).masked_fill(~known, 0.0), self.smoothing / 2
            loss = self._weighted(logits, labels)
            if wrong:
                loss = (1 - wrong) * loss + wrong * self._weighted(logits, 1 - labels)
            loss = loss.masked_fill(~known, 0.0)
        if weight is not None:
            weight = weight.reshape(-1, *[1] * (loss.ndim - weight.ndim)) if weight.ndim < loss.ndim else weight
        reduction = reduction_override or self.reduction
        if reduction == 'mean' and avg_factor is None:
            avg_factor = known.sum().clamp(min=1)
        return self.loss_weight * weight_reduce_loss(loss, weight, reduction, avg_factor)

    def _weighted(self, logits: Tensor, target: Tensor) -> Tensor:
        loss = self.elementwise(logits, target)
        if self.pos_weight is None:
            return loss
        if self.pos_weight.ndim and len(self.pos_weight) != logits.shape[-1]:
            raise ValueError(f'{type(self).__name__}: {len(self.pos_weight)} positive weights for {logits.shape[-1]} '
                             'classes; give one for each class, or one number for all.')
        return loss * (1 + (self.pos_weight.to(loss) - 1) * target)


@MODELS.register_module()
class MaskedFocalLoss(MaskedBCELoss):
    """Sigmoid focal loss over the known labels.

    ``FL(p_t) = -alpha_t (1 - p_t)^gamma log(p_t)`` with ``p_t = p, alpha_t = alpha`` for positives and ``1 - p, 1 -
    alpha`` for negatives (Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, arXiv 1708.02002, eq. 5).

    Args:
        alpha: Weight of positives, within 0 .. 1; negatives get ``1 - alpha``.
        gamma: Focusing parameter, 0 or more.
        **kwargs: Those of :class:`MaskedBCELoss`.
    """

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0, **kwargs) -> None:
        super().__init__(**kwargs)
        check_numbers('MaskedFocalLoss', alpha=(alpha, '[0, 1]'), gamma=(gamma, '[0, inf)'))
        self.alpha, self.gamma = alpha, gamma

    def elementwise(self, logits: Tensor, target: Tensor) -> Tensor:
        return sigmoid_focal_loss(logits, target, gamma=self.gamma, alpha=self.alpha, reduction='none')


@MODELS.register_module()
class MaskedAsymmetricLoss(MaskedBCELoss):
    """Asymmetric loss over the known labels: easy negatives count little, those below a margin not at all.

    Positives ``-(1 - p)^gamma_pos log(p)``, negatives ``-p_m^gamma_neg log(1 - p_m)`` with ``p_m = max(p - clip, 0)``
    (Ridnik et al., "Asymmetric Loss For Multi-Label Classification", ICCV 2021, arXiv 2009.14119, eq. 5 to 7).

    Args:
        gamma_pos: Focusing parameter of positives, 0 or more.
        gamma_neg: That of negatives, 0 or more.
        clip: Margin of probability, within 0 .. 1.
        **kwargs: Those of :class:`MaskedBCELoss`.
    """

    def __init__(self, gamma_pos: float = 0.0, gamma_neg: float = 4.0, *, clip: float = 0.05, **kwargs) -> None:
        super().__init__(**kwargs)
        check_numbers('MaskedAsymmetricLoss', gamma_pos=(gamma_pos, '[0, inf)'), gamma_neg=(gamma_neg, '[0, inf)'),
                      clip=(clip, '[0, 1)'))
        self.gamma_pos, self.gamma_neg, self.clip = gamma_pos, gamma_neg, clip

    def elementwise(self, logits: Tensor, target: Tensor) -> Tensor:
        return asymmetric_loss(logits, target, gamma_pos=self.gamma_pos, gamma_neg=self.gamma_neg, clip=self.clip,
                               reduction='none')
