"""Focal loss for the classification branch of a two-stage detector."""
import torch
from mmdet.models.losses import FocalLoss
from torch import Tensor

from cxrdet.core.errors import check_choice
from cxrdet.registry import MODELS


@MODELS.register_module()
class RoIFocalLoss(FocalLoss):
    """MMDetection's sigmoid :class:`FocalLoss`, made to fit ``BBoxHead``.

    ``BBoxHead`` reads the C + 1 sigmoid scores of the plain one through a softmax. This class tells it to predict C
    scores, one a class with background as "none of them", and to read them through the sigmoid::

        bbox_head=dict(cls_predictor_cfg=dict(type='cxrdet.PriorLinear'), loss_cls=dict(type='cxrdet.RoIFocalLoss'))

    ``FL(p_t) = -alpha_t (1 - p_t)^gamma log(p_t)`` (Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017,
    arXiv 1708.02002, eq. 5), with ``p_t = p`` for the region's own class and ``1 - p`` for all others.
    As in RetinaNet (section 4.1), the sum over all sampled regions is divided by the number of those that belong to a
    class, and every score starts at probability 0.01, for which the head needs :class:`cxrdet.PriorLinear`.

    Args:
        use_sigmoid: Must be True, as in the parent.
        gamma: Focusing parameter.
        alpha: Weight of positives; negatives get ``1 - alpha``.
        normalizer: What the sum is divided by: 'positives', the sampled regions of a class with a weight above 0, one
            at least; or 'regions', what the head asks for (all that are sampled), as in earlier versions.
        **kwargs: Further arguments of the parent (reduction, loss_weight).

    Raises:
        ConfigError: If ``normalizer`` is unknown.
    """

    custom_cls_channels = True
    custom_activation = True
    custom_accuracy = True

    def __init__(self, use_sigmoid: bool = True, gamma: float = 2.0, *, alpha: float = 0.25,
                 normalizer: str = 'positives', **kwargs) -> None:
        super().__init__(use_sigmoid=use_sigmoid, gamma=gamma, alpha=alpha, **kwargs)
        check_choice('RoIFocalLoss: normalizer', normalizer, ('positives', 'regions'))
        self.normalizer = normalizer

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None, avg_factor: float | None = None,
                reduction_override: str | None = None) -> Tensor:
        """The parent's loss, a mean being the sum divided by :meth:`get_avg_factor`.

        Args:
            pred: (N, C) logits.
            target: (N,) labels, C for background; or (N, C) ones and zeros.
            weight: (N,) of each region.
            avg_factor: The head's number of regions.
            reduction_override: 'mean', 'sum' or 'none' in place of ``reduction``.
        """
        if (reduction_override or self.reduction) == 'mean':
            avg_factor = self.get_avg_factor(pred, target, weight, avg_factor)
        return super().forward(pred, target, weight, avg_factor, reduction_override)

    def get_avg_factor(self, pred: Tensor, target: Tensor, weight: Tensor | None = None,
                       avg_factor: float | None = None) -> Tensor | float | None:
        """What the sum of the elements is divided by; arguments as in :meth:`forward`."""
        if self.normalizer == 'regions':
            return avg_factor
        positive = (target >= 0) & (target < pred.shape[1]) if target.ndim == 1 else (target > 0).any(1)
        if weight is not None:
            positive = positive & (weight.reshape(len(pred), -1) > 0).any(1)
        return positive.sum().clamp(min=1)

    def get_cls_channels(self, num_classes: int) -> int:
        """Number of scores that the head predicts per region."""
        return num_classes

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """(N, C) logits to (N, C + 1) scores; the last column, background, is 0, since no one reads it."""
        return torch.cat([cls_score.sigmoid(), cls_score.new_zeros(len(cls_score), 1)], dim=1)

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Share (percent) of the regions of a class, background left out, whose highest score is that class."""
        of_class = labels < cls_score.shape[1]
        hits = cls_score[of_class].argmax(dim=1) == labels[of_class]
        return dict(acc_classes=hits.float().sum() * 100 / max(len(hits), 1))
