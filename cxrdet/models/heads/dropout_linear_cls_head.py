"""A linear classifier of single-label images with dropout in front of it."""
from mmpretrain.models.heads import LinearClsHead
from torch import Tensor, nn

from cxrdet.core.errors import ConfigError
from cxrdet.registry import MODELS


@MODELS.register_module()
class DropoutLinearClsHead(LinearClsHead):
    """MMPretrain's ``LinearClsHead`` (one label an image, softmax) with dropout on the pooled features.

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
        if not 0 <= dropout < 1:
            raise ConfigError(f'DropoutLinearClsHead: dropout must lie in 0 <= dropout < 1, got {dropout}')
        self.dropout = nn.Dropout(dropout)

    def pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Pooled features of the stages, each (N, C_s), to those of the last one after dropout, (N, in_channels)."""
        return self.dropout(super().pre_logits(feats))
