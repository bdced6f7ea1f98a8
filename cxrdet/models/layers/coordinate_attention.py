"""Coordinate attention.

Paper: Hou, Zhou, Feng, "Coordinate Attention for Efficient Mobile Network Design", CVPR 2021, arXiv 2103.02907,
equations 4-9. Own implementation, written from the equations.
"""
import torch
from torch import Tensor, nn

from cxrdet.core.errors import check_numbers
from cxrdet.registry import MODELS

MIN_WIDTH = 8


@MODELS.register_module()
class CoordinateAttention(nn.Module):
    """A gate for every row and one for every column: ``y_c(i, j) = x_c(i, j) g^h_c(i) g^w_c(j)`` (equation 9).

    ``z^h`` is the mean of each row, ``z^w`` that of each column (4, 5); ``f = delta(F1([z^h; z^w]))`` brings both to
    ``max(C // reduction, 8)`` channels (6); ``g^h = sigmoid(Fh(f^h))`` and ``g^w = sigmoid(Fw(f^w))`` (7, 8). F1, Fh
    and Fw are 1x1 convolutions, F1 with a batch norm, and ``delta`` is the hard swish. F1 has no bias: the norm would
    take it out.

    Args:
        in_channels: C of the map.
        reduction: channels over hidden channels; 32 in the paper.

    Raises:
        ConfigError: if an argument is out of range.
    """
    _abbr_ = 'ca'

    def __init__(self, in_channels: int, reduction: int = 32) -> None:
        super().__init__()
        check_numbers('CoordinateAttention', in_channels=(in_channels, '[1, inf)'), reduction=(reduction, '[1, inf)'))
        hidden = max(in_channels // reduction, MIN_WIDTH)
        self.reduce = nn.Sequential(
            nn.Conv2d(in_channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.Hardswish())
        self.rows = nn.Conv2d(hidden, in_channels, 1)
        self.columns = nn.Conv2d(hidden, in_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape and dtype."""
        height = x.shape[2]
        rows, columns = x.mean(3, keepdim=True), x.mean(2, keepdim=True).transpose(2, 3)
        hidden = self.reduce(torch.cat((rows, columns), dim=2))  # (N, hidden, H + W, 1)
        gate_h = self.rows(hidden[:, :, :height]).sigmoid()  # (N, C, H, 1)
        gate_w = self.columns(hidden[:, :, height:].transpose(2, 3)).sigmoid()  # (N, C, 1, W)
        return x * gate_h * gate_w
