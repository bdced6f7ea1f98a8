"""BiFPN, the weighted bidirectional feature pyramid of EfficientDet.

Paper: Tan, Pang, Le, "EfficientDet: Scalable and Efficient Object Detection", CVPR 2020, arXiv 1911.09070, section 3.
Own implementation, written from the paper's equations. Where the paper is silent, the choice is named below.
"""
from collections.abc import Sequence
from functools import partial, reduce

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from cxrdet.core.errors import check_choice, check_numbers
from cxrdet.registry import MODELS

FUSIONS = ('fast', 'softmax', 'sum')
EPS = 1e-4
BATCH_NORM = {'type': 'BN', 'momentum': 0.01, 'eps': 1e-3}  # TensorFlow's 0.99: new statistics count 0.01
FAN_IN = {'type': 'Kaiming', 'layer': 'Conv2d', 'mode': 'fan_in', 'nonlinearity': 'linear', 'distribution': 'normal'}


def halve(x: Tensor) -> Tensor:
    """(N, C, h, w) to (N, C, ceil(h / 2), ceil(w / 2)) by a 3x3 max pooling of stride 2, as strided convolutions go."""
    return F.max_pool2d(x, 3, stride=2, padding=1)


def resize_to(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bring a map to the exact size of another pyramid level; the memory format is kept.

    A coarser map is enlarged by nearest neighbour. A finer one is reduced by :func:`halve` where that gives the size
    wanted, else by an adaptive max pooling.

    Args:
        x: (N, C, h, w).
        size: height and width wanted.

    Returns:
        (N, C, *size), of the dtype of ``x``; ``x`` itself where the size is right already.
    """
    (height, width), size = x.shape[-2:], tuple(size)
    if (height, width) == size:
        return x
    if ((height + 1) // 2, (width + 1) // 2) == size:
        return halve(x)
    if height >= size[0] and width >= size[1]:
        return F.adaptive_max_pool2d(x, size)
    return F.interpolate(x, size=size, mode='nearest')


class FusionNode(nn.Module):
    """One node of the pyramid: weighted sum, swish, 3x3 convolution, norm (section 3.3).

    ``fast``:    ``O = sum_i w_i / (eps + sum_j w_j) * I_i`` with ``w_i = ReLU(v_i)``, eps 1e-4
    ``softmax``: ``O = sum_i exp(v_i) / sum_j exp(v_j) * I_i``
    ``sum``:     ``O = sum_i I_i``, no weights

    where ``v`` is the node's own learnable vector, ones at first, normalised in float32 at least. A node with a single
    input has none. With 'fast', an input whose ``v_i`` falls below 0 is switched off for good.

    Args:
        channels: C, of every input and of the output.
        num_inputs: number of maps that are fused.
        separable: depthwise 3x3 then pointwise 1x1 in place of a plain 3x3 convolution.
        fusion: one of ``FUSIONS``.
        norm_cfg: MMCV's config of the norm layer; None for none (then the convolution has a bias).
    """

    def __init__(self, channels: int, num_inputs: int, *, separable: bool, fusion: str, norm_cfg: dict | None) -> None:
        super().__init__()
        self.fusion = fusion
        self.fusion_weight = nn.Parameter(torch.ones(num_inputs)) if fusion != 'sum' and num_inputs > 1 else None
        conv = partial(ConvModule, channels, channels, act_cfg=None)
        if separable:
            self.conv = nn.Sequential(conv(3, padding=1, groups=channels, bias=False), conv(1, norm_cfg=norm_cfg))
        else:
            self.conv = conv(3, padding=1, norm_cfg=norm_cfg)

    def no_weight_decay(self) -> set[str]:
        """The parameters that no optimizer shall decay: decay would level the weights and shrink their sum to eps."""
        return set() if self.fusion_weight is None else {'fusion_weight'}

    def normalised_weight(self) -> Tensor | None:
        """(num_inputs,) float32 (float64 in a double model), what each input counts for; None where all count 1."""
        if self.fusion_weight is None:
            return None
        weight = self.fusion_weight.to(torch.promote_types(self.fusion_weight.dtype, torch.float32))
        if self.fusion == 'softmax':
            return weight.softmax(0)
        weight = weight.relu()
        return weight / (EPS + weight.sum())

    def forward(self, own: Tensor, *others: Tensor) -> Tensor:
        """Fuse the maps at the size of the first.

        Args:
            own: (N, C, H, W), a map of the node's own level.
            others: (N, C, h, w), maps of any level.

        Returns:
            (N, C, H, W), of the dtype of ``own`` (under autocast: of the convolution).
        """
        size, weight, terms = own.shape[-2:], self.normalised_weight(), []
        for i, x in enumerate((own, *others)):
            if x.shape[-2] * x.shape[-1] > size[0] * size[1]:  # weigh on the smaller side of the resize: fewer products
                x = resize_to(x, size)
            if weight is not None:
                x = x * weight[i]  # a 0-dim weight leaves the dtype of the map alone
            terms.append(resize_to(x, size))
        fused = reduce(torch.add, terms)
        return self.conv(F.silu(fused))


class BiFPNLayer(nn.Module):
    """One top-down and one bottom-up pass over n levels, ``2 * (n - 1)`` nodes (figure 2d).

    Intermediate nodes of levels n-2 .. 1 fuse ``in[l], td[l+1]`` (the topmost ``td`` is ``in``). The finest output
    fuses ``in[0], td[1]``; the others ``in[l], td[l], out[l-1]``, and the coarsest, which has no ``td``,
    ``in[n-1], out[n-2]``. A single level has one node with one input.

    Args:
        channels: C of every level.
        num_levels: n >= 1.
        separable, fusion, norm_cfg: as in :class:`FusionNode`.
    """

    def __init__(self, channels: int, num_levels: int, *, separable: bool, fusion: str, norm_cfg: dict | None) -> None:
        super().__init__()
        self.num_levels = num_levels
        node = partial(FusionNode, channels, separable=separable, fusion=fusion, norm_cfg=norm_cfg)
        self.top_down = nn.ModuleList(node(2) for _ in range(1, num_levels - 1))  # levels 1 .. n-2
        widths = [min(num_levels, 2)] + [3] * (num_levels - 2) + [2] * (num_levels > 1)
        self.outputs = nn.ModuleList(node(width) for width in widths)

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """n maps (N, C, H_l, W_l), finest first, to n maps of the same shapes."""
        top_down = list(inputs)
        for level in range(self.num_levels - 2, 0, -1):
            top_down[level] = self.top_down[level - 1](inputs[level], top_down[level + 1])
        outs = [self.outputs[0](inputs[0], *top_down[1:2])]
        for level in range(1, self.num_levels):
            middle = top_down[level:level + 1] if level < self.num_levels - 1 else []
            outs.append(self.outputs[level](inputs[level], *middle, outs[-1]))
        return outs


@MODELS.register_module()
class BiFPN(BaseModule):
    """Weighted bidirectional feature pyramid, a drop-in for MMDetection's ``FPN``.

    Each input level has its own 1x1 lateral convolution and norm; both passes of the first layer read this one lateral
    (the equations have one ``P_in`` a level; the authors' code adds a second lateral for the bottom-up pass).
    Levels above the inputs are made from the top input: 1x1 convolution, norm and 3x3 max pooling of stride 2, further
    ones by max pooling alone. Then ``num_layers`` layers (:class:`BiFPNLayer`), and last the attention, if any.

    P3 to P7 of EfficientDet, strides 8 to 128, are ``start_level=1, num_outs=5`` over the four stages of a ResNet:
    ``retinanet_bifpn_cell.py``; ``faster_rcnn_bifpn_p3_p7_cell.py``, with anchors and regions to match.

    Args:
        in_channels: channels of each map that the backbone gives, finest first.
        out_channels: C of every output.
        num_outs: number of outputs, at least ``len(in_channels) - start_level``.
        num_layers: how often the pyramid is repeated.
        start_level: index of the first input used; finer ones are left out, as in ``FPN``.
        separable: depthwise-separable 3x3 convolutions, as in the paper, or plain ones.
        fusion: 'fast' (paper's choice), 'softmax' or 'sum'; see :class:`FusionNode`.
        attention: config of a layer that takes ``in_channels`` and keeps the shape, e.g. ``dict(type='cxrdet.CBAM')``:
            one such layer on every output. A sequence gives one config, or None, for each output.
        norm_cfg: MMCV's config of the norm layers; None for none. By default batch norm as the authors train it, eps
            1e-3 and momentum 0.01 in PyTorch's sense, whose own are 1e-5 and 0.1.
        init_cfg: MMEngine's initialisation; by default normal, with variance 1 / fan-in.

    The fusion weights of all nodes end in ``fusion_weight``. Training with ``cxrdet train`` leaves them out of the
    weight decay of any optimizer; a Runner of MMEngine's needs
    ``paramwise_cfg=dict(custom_keys={'fusion_weight': dict(decay_mult=0.)})``.

    Raises:
        ValueError: if an argument is out of range, or a forward gets maps that do not fit ``in_channels``.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        *,
        num_outs: int,
        num_layers: int = 3,
        start_level: int = 0,
        separable: bool = True,
        fusion: str = 'fast',
        attention: dict | Sequence[dict | None] | None = None,
        norm_cfg: dict | None = BATCH_NORM,
        init_cfg: dict | list | None = FAN_IN,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.in_channels, self.out_channels = list(in_channels), out_channels
        self.num_outs, self.start_level = num_outs, start_level
        self._check(num_layers, fusion)
        used = self.in_channels[start_level:]
        if num_outs > len(used):
            used.append(used[-1])  # the first extra level starts from the top input, through a lateral of its own
        self.laterals = nn.ModuleList(
            ConvModule(channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None) for channels in used)
        self.layers = nn.ModuleList(
            BiFPNLayer(out_channels, num_outs, separable=separable, fusion=fusion, norm_cfg=norm_cfg)
            for _ in range(num_layers))
        self.attentions = self._build_attentions(attention)

    def _check(self, num_layers: int, fusion: str) -> None:
        levels = len(self.in_channels)
        if not levels:
            raise ValueError('BiFPN: in_channels must list at least one level, got none')
        if not 0 <= self.start_level < levels:
            raise ValueError(f'BiFPN: start_level must lie in 0 .. {levels - 1} for in_channels={self.in_channels}, '
                             f'got {self.start_level}')
        if self.num_outs < levels - self.start_level:
            raise ValueError(f'BiFPN: num_outs must be at least {levels - self.start_level}, the number of inputs used '
                             f'(in_channels={self.in_channels}, start_level={self.start_level}), got {self.num_outs}')
        check_numbers('BiFPN', num_layers=(num_layers, '[1, inf)'))
        check_choice('BiFPN: fusion', fusion, FUSIONS)

    def _build_attentions(self, attention: dict | Sequence[dict | None] | None) -> nn.ModuleList | None:
        if attention is None:
            return None
        configs = [attention] * self.num_outs if isinstance(attention, dict) else list(attention)
        if len(configs) != self.num_outs:
            raise ValueError(f'BiFPN: a sequence for attention needs one entry (config or None) for each of the '
                             f'{self.num_outs} outputs, got {len(configs)}')
        return nn.ModuleList(
            nn.Identity() if cfg is None else MODELS.build({'in_channels': self.out_channels, **cfg})
            for cfg in configs)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps of the backbone to maps of the pyramid.

        Args:
            inputs: ``len(in_channels)`` maps (N, in_channels[l], H_l, W_l), finest first.

        Returns:
            ``num_outs`` maps (N, out_channels, H_l, W_l), finest first; H and W of an extra level are half of the level
            below, rounded up.
        """
        got = [x.shape[1] for x in inputs]
        if got != self.in_channels:
            raise ValueError(f'BiFPN: expected {len(self.in_channels)} maps with {self.in_channels} channels, '
                             f'got {len(got)} with {got}; set in_channels to what the backbone gives')
        inputs = inputs[self.start_level:]
        maps = [lateral(x) for lateral, x in zip(self.laterals, inputs, strict=False)]
        if self.num_outs > len(maps):
            maps.append(halve(self.laterals[-1](inputs[-1])))
        while len(maps) < self.num_outs:
            maps.append(halve(maps[-1]))
        for layer in self.layers:
            maps = layer(maps)
        if self.attentions is not None:
            maps = [attention(x) for attention, x in zip(self.attentions, maps, strict=True)]
        return tuple(maps)
