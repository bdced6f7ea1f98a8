"""CBAM, the convolutional block attention module.

Paper: Woo, Park, Lee, Kweon, "CBAM: Convolutional Block Attention Module", ECCV 2018, arXiv 1807.06521, equations 1-4.
Own implementation, written from the equations.
"""
import torch
from torch import Tensor, nn

from cxrdet.core.errors import check_numbers
from cxrdet.registry import MODELS


class ChannelAttention(nn.Module):
    """``M_c(F) = sigmoid(MLP(AvgPool(F)) + MLP(MaxPool(F)))``, one MLP for both (equation 3).

    Args:
        in_channels: C.
        ratio: the hidden layer has ``max(C // ratio, 1)`` units.
    """

    def __init__(self, in_channels: int, *, ratio: int = 8) -> None:
        super().__init__()
        hidden = max(in_channels // ratio, 1)
        self.mlp = nn.Sequential(nn.Conv2d(in_channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, in_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the map (N, C, 1, 1), within 0 .. 1."""
        mean, peak = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        return (self.mlp(mean) + self.mlp(peak)).sigmoid()


class SpatialAttention(nn.Module):
    """``M_s(F) = sigmoid(f([AvgPool(F); MaxPool(F)]))``, pooled over the channels, f a convolution (equation 4).

    Args:
        kernel_size: of f, odd; 7 in the paper.
    """

    def __init__(self, *, kernel_size: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the map (N, 1, H, W), within 0 .. 1."""
        pooled = torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), dim=1)
        return self.conv(pooled).sigmoid()


@MODELS.register_module()
class CBAM(nn.Module):
    """Channel attention, then spatial attention: ``F' = M_c(F) F``, ``F'' = M_s(F') F'`` (equations 1 and 2).

    As a module it is ``CBAM(256)``; on a pyramid ``BiFPN(..., attention=dict(type='cxrdet.CBAM'))``; in the bottleneck
    blocks of MMDetection's ResNet (depth 50 and more: its basic blocks take no plugins)
    ``plugins=[dict(cfg=dict(type='cxrdet.CBAM'), stages=(False, True, True, True), position='after_conv3')]``.

    Args:
        in_channels: C of the map.
        ratio: channels over hidden units of the MLP; 8 here, 16 in the paper.
        kernel_size: of the spatial convolution, odd.

    Raises:
        ValueError: if an argument is out of range, or ``kernel_size`` is even.
    """
    _abbr_ = 'cbam'

    def __init__(self, in_channels: int, ratio: int = 8, *, kernel_size: int = 7) -> None:
        super().__init__()
        check_numbers('CBAM', in_channels=(in_channels, '[1, inf)'), ratio=(ratio, '[1, inf)'))
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f'CBAM: kernel_size must be odd and positive, got {kernel_size}; 7 is the usual one')
        self.channel = ChannelAttention(in_channels, ratio=ratio)
        self.spatial = SpatialAttention(kernel_size=kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape and dtype."""
        x = x * self.channel(x)
        return x * self.spatial(x)
