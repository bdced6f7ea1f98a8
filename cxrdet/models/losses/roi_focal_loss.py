"""Focal loss for the classification branch of a two-stage detector."""
import torch
from mmdet.models.losses import FocalLoss
from torch import Tensor

from cxrdet.registry import MODELS


@MODELS.register_module()
class RoIFocalLoss(FocalLoss):
    """MMDetection's sigmoid :class:`FocalLoss`, made to fit ``BBoxHead``.

    With the plain ``FocalLoss``, ``BBoxHead`` trains C + 1 sigmoid scores and then reads them through a softmax. This
    class tells the head to predict C scores, one a class with background as "none of them", and to read them through
    the sigmoid they were trained with.

    ``FL(p_t) = -alpha_t (1 - p_t)^gamma log(p_t)`` (Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017,
    arXiv 1708.02002, eq. 5), with ``p_t = p`` for the region's own class and ``1 - p`` for all others.

    Args:
        use_sigmoid: Must be True, as in the parent.
        gamma: Focusing parameter.
        alpha: Weight of positives; negatives get ``1 - alpha``.
        **kwargs: Further arguments of the parent (reduction, loss_weight).
    """

    custom_cls_channels = True
    custom_activation = True
    custom_accuracy = True

    def __init__(self, use_sigmoid: bool = True, gamma: float = 2.0, *, alpha: float = 0.25, **kwargs) -> None:
        super().__init__(use_sigmoid=use_sigmoid, gamma=gamma, alpha=alpha, **kwargs)

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
