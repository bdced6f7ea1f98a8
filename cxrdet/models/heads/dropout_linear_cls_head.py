"""A linear classifier of single-label images with dropout in front of it."""
import torch
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from cxrdet.core.errors import check_numbers
from cxrdet.registry import MODELS


@MODELS.register_module()
class DropoutLinearClsHead(LinearClsHead):
    """MMPretrain's ``LinearClsHead`` (one label an image, softmax) with dropout on the pooled features.

    In training the share of images whose most probable class is right goes beside the loss, as ``accuracy``; of mixed
    images (mixup, CutMix) the class of the larger part counts.

    Args:
        num_classes: number of classes; ``cxrdet``'s tools set it from the data.
        in_channels: channels of the pooled features.
        dropout: share of the features, 0 <= dropout < 1, zeroed in training; the others grow by 1 / (1 - dropout).
        **kwargs: of ``LinearClsHead``.

    Raises:
        ConfigError: if ``dropout`` is out of range.
    """

    def __init__(self, num_classes: int, in_channels: int, *, dropout: float = 0.1, **kwargs) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        check_numbers('DropoutLinearClsHead', dropout=(dropout, '[0, 1)'))
        self.dropout = nn.Dropout(dropout)

    def pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Pooled features of the stages, each (N, C_s), to those of the last one after dropout, (N, in_channels)."""
        return self.dropout(super().pre_logits(feats))

    def _get_loss(self, cls_score: Tensor, data_samples: list[DataSample], **kwargs) -> dict[str, Tensor]:
        losses = super()._get_loss(cls_score, data_samples, **kwargs)
        if self.training:
            target = torch.cat([sample.gt_score.argmax(dim=-1, keepdim=True) if 'gt_score' in sample
                                else sample.gt_label for sample in data_samples])
            losses['accuracy'] = (cls_score.argmax(dim=1) == target.to(cls_score.device)).float().mean()
        return losses
