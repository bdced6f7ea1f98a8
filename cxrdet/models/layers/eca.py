"""ECA, efficient channel attention.

Paper: Wang, Wu, Zhu, Li, Zuo, Hu, "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks",
CVPR 2020, arXiv 1910.03151, equations 5 and 12. Own implementation, written from the equations.
"""
import math

from torch import Tensor, nn

from cxrdet.core.errors import ConfigError, check_numbers
from cxrdet.registry import MODELS


def eca_kernel_size(channels: int, *, gamma: float = 2., b: float = 1.) -> int:
    """``k = |log2(C) / gamma + b / gamma|_odd``, the nearest odd number, an even one counting upwards (equation 12)."""
    return 2 * int(abs((math.log2(channels) + b) / gamma) / 2) + 1


@MODELS.register_module()
class ECA(nn.Module):
    """``F' = sigmoid(conv1d_k(AvgPool(F))) F``: each channel weighed by itself and its k - 1 neighbours (equation 5).

    It has k parameters and no bias. At the start the gate is near 1/2: no identity, but an almost even factor, which
    batch norms behind it take out.

    As a module it is ``ECA(256)``; behind the stages of a ResNet see :class:`cxrdet.models.backbones.AttentionResNet`;
    in the bottleneck blocks of MMDetection's ResNet
    ``plugins=[dict(cfg=dict(type='cxrdet.ECA'), stages=(False, True, True, True), position='after_conv3')]``.

    Args:
        in_channels: C of the map.
        kernel_size: k, odd; None: follows from C by :func:`eca_kernel_size`.
        gamma, b: of that rule.

    Raises:
        ConfigError: if an argument is out of range, or ``kernel_size`` is even.
    """
    _abbr_ = 'eca'

    def __init__(self, in_channels: int, kernel_size: int | None = None, *, gamma: float = 2., b: float = 1.) -> None:
        super().__init__()
        check_numbers('ECA', in_channels=(in_channels, '[1, inf)'), gamma=(gamma, '(0, inf)'))
        if kernel_size is None:
            kernel_size = eca_kernel_size(in_channels, gamma=gamma, b=b)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ConfigError(f'ECA: kernel_size must be odd and positive, got {kernel_size}; None chooses it from '
                              'in_channels')
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape and dtype."""
        pooled = x.mean((2, 3)).unsqueeze(1)  # (N, 1, C)
        gate = self.conv(pooled).sigmoid()
        return x * gate.transpose(1, 2).unsqueeze(3)
