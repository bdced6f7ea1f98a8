"""BoT attention: multi-head self-attention over the positions of a map, with relative position encoding.

Papers: Srinivas, Lin, Parmar, Shlens, Abbeel, Vaswani, "Bottleneck Transformers for Visual Recognition", CVPR 2021,
arXiv 2101.11605, section 3 and figure 4; the clipped offsets are those of Shaw, Uszkoreit, Vaswani, "Self-Attention
with Relative Position Representations", NAACL 2018, arXiv 1803.02155, section 3.2. Own implementation.
"""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cxrdet.core.errors import ConfigError, check_numbers
from cxrdet.registry import MODELS


class PositionAttention(nn.Module):
    """What :class:`BoTAttention` and :class:`LinearBoTAttention` share: all but the attention itself.

    ``y = x + scale * P(heads(Q x, K x, V x))`` with 1x1 convolutions Q, K, V: C -> M and P: M -> C, none with a bias,
    and one learnable ``scale`` a channel. ``scale`` is ``init_scale`` at first; with 0 the layer starts as the identity
    and a pretrained network keeps its features, and Q, K, V and P get a gradient as soon as ``scale`` has left 0, after
    one step. The bare parameter is out of reach of the initialisers of mm* configs, which overwrite convolutions and
    norms. Without ``residual`` it is ``y = heads(Q x, K x, V x)``, of M channels: what stands in the blocks of BoTNet
    in place of a convolution, where the block has a sum and a batch norm of its own.

    Args:
        in_channels: C of the map.
        num_heads: heads, each of M / num_heads channels.
        mid_channels: M; None: C.
        init_scale: first value of ``scale``; only with ``residual``.
        residual: whether x, P and ``scale`` are there.

    Raises:
        ConfigError: if an argument is out of range, or ``num_heads`` does not divide M.
    """
    __constants__ = ('residual',)

    def __init__(self, in_channels: int, num_heads: int = 4, *, mid_channels: int | None = None,
                 init_scale: float = 0., residual: bool = True) -> None:
        super().__init__()
        mid_channels = in_channels if mid_channels is None else mid_channels
        check_numbers(type(self).__name__, in_channels=(in_channels, '[1, inf)'), num_heads=(num_heads, '[1, inf)'),
                      mid_channels=(mid_channels, '[1, inf)'), init_scale=(init_scale, '(-inf, inf)'))
        if mid_channels % num_heads:
            raise ConfigError(f'{type(self).__name__}: num_heads must divide the {mid_channels} channels of the '
                              f'attention, got {num_heads}')
        if init_scale and not residual:
            raise ConfigError(f'{type(self).__name__}: init_scale={init_scale} needs residual=True: what stands in '
                              'place of a convolution has no scale, a batch norm follows it')
        self.num_heads, self.head_channels, self.residual = num_heads, mid_channels // num_heads, residual
        self.out_channels = in_channels if residual else mid_channels
        self.qkv = nn.Conv2d(in_channels, 3 * mid_channels, 1, bias=False)
        if residual:
            self.project = nn.Conv2d(mid_channels, in_channels, 1, bias=False)
            self.scale = nn.Parameter(torch.full((in_channels,), float(init_scale)))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        """q, k, v: (N, heads, d, H * W), positions row by row; gives the same shape."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), of any H and W, to the same shape and dtype; without ``residual`` to (N, M, H, W)."""
        n, height, width = x.shape[0], x.shape[2], x.shape[3]
        shape = (n, 3, self.num_heads, self.head_channels, height * width)
        q, k, v = self.qkv(x).reshape(shape).unbind(1)
        out = self.attend(q, k, v, height, width)
        out = out.reshape(n, self.num_heads * self.head_channels, height, width)
        if not self.residual:
            return out
        out = self.project(out)
        return x + self.scale.to(x.dtype).view(1, -1, 1, 1) * out.to(x.dtype)


@MODELS.register_module()
class BoTAttention(PositionAttention):
    """Self-attention over all positions, quadratic in their number: ``y = x + scale * P(heads)``, and in each head

    ``o_a = sum_b softmax_b(q_a . (k_b + h[i_b - i_a] + w[j_b - j_a]) / sqrt(d)) v_b`` for positions a = (i_a, j_a), b.

    ``h`` and ``w`` are learnable vectors of d values for offsets ``-max_distance .. max_distance`` of rows and of
    columns, the same for all heads, as in the paper. Here (our choice) an offset beyond ``max_distance`` uses the last
    vector of its side, so any size will do. The default holds all offsets of stage 4 of a ResNet up to 544 px.

    Time is O((H W)^2 M), memory O((H W)^2 num_heads), for the logits and weights of pairs: meant for the last stage.
    The residual, ``scale`` and the other arguments: :class:`PositionAttention`.

    Args:
        in_channels: C of the map.
        num_heads: heads; 4 in the paper.
        mid_channels: M, channels of q, k and v; None: C. In wide bottleneck blocks a quarter of C is plenty.
        max_distance: largest offset with a vector of its own.
        **kwargs: ``init_scale`` and ``residual`` of :class:`PositionAttention`.

    Raises:
        ConfigError: if an argument is out of range, or ``num_heads`` does not divide M.
    """
    _abbr_ = 'bot'

    def __init__(self, in_channels: int, num_heads: int = 4, *, mid_channels: int | None = None,
                 max_distance: int = 16, **kwargs) -> None:
        super().__init__(in_channels, num_heads, mid_channels=mid_channels, **kwargs)
        check_numbers('BoTAttention', max_distance=(max_distance, '[0, inf)'))
        self.max_distance = max_distance
        size = (2 * max_distance + 1, self.head_channels)
        self.row_offsets = nn.Parameter(torch.randn(size) * self.head_channels ** -0.5)
        self.column_offsets = nn.Parameter(torch.randn(size) * self.head_channels ** -0.5)

    def _vectors(self, table: Tensor, length: int) -> Tensor:
        """(length, length, d): entry [a, b] is the vector of the clipped offset b - a."""
        position = torch.arange(length, device=table.device)
        offset = (position - position.unsqueeze(1)).clamp(-self.max_distance, self.max_distance)
        return table[offset + self.max_distance]

    def position_logits(self, q: Tensor, height: int, width: int) -> Tensor:
        """q: (N, heads, H * W, d); gives ``q_a . (h + w)``, (N, heads, H * W, H * W): each axis by itself, summed."""
        q = q.unflatten(2, (height, width))
        rows = torch.einsum('nehwd,hid->nehwi', q, self._vectors(self.row_offsets, height).to(q.dtype))
        columns = torch.einsum('nehwd,wjd->nehwj', q, self._vectors(self.column_offsets, width).to(q.dtype))
        return (rows.unsqueeze(5) + columns.unsqueeze(4)).flatten(4, 5).flatten(2, 3)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        """q, k, v: (N, heads, d, H * W), positions row by row; gives the same shape."""
        # Side by side the channels of a position take less memory in torch's kernels: at 112x112 5.2 GB, not 8.2.
        q, k, v = (x.transpose(2, 3).contiguous() for x in (q * self.head_channels ** -0.5, k, v))
        bias = self.position_logits(q, height, width)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.)
        return out.transpose(2, 3).contiguous()  # kernels differ in layout, an exported graph may not
