"""ResNets with attention behind their stages, or in their blocks.

The ResNet is MMPretrain's, with the parameter names of torchvision's (He, Zhang, Ren, Sun, "Deep Residual Learning for
Image Recognition", CVPR 2016; stride 2 in the 3x3 convolution of a bottleneck). The presets are the five networks of
one comparison: they differ from each other in nothing but the attention.

``position='blocks'`` is for the ``BasicBlock`` and ``Bottleneck`` of MMPretrain. (MMDetection's bottlenecks take
``plugins`` with ``position='after_conv3'``, the place of gates.)

- A gate (ECA, coordinate attention, CBAM) stands on the residual branch, behind its last batch norm and before the sum:
  the place of an SE layer, in ECA-Net (arXiv 1910.03151), in CBAM's ResNets, and for coordinate attention, whose paper
  has mobile blocks, in timm's: ``layer1.0.drop_path.attention``.
- Self-attention (BoTAttention, LinearBoTAttention) takes the place of the second convolution, ``conv2``, whose weights
  are gone: ``layer4.0.conv2.attention``. In a bottleneck that is the 3x3, as in BoTNet (arXiv 2101.11605), and
  where it has stride 2 there follows 2x2 average pooling (at odd sizes with the last row and column). In a basic block
  the first 3x3, with stride and width, stays (our choice). It has neither a sum of its own nor ``scale`` there.
"""
import inspect
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

from mmpretrain.models.backbones import ResNet
from mmpretrain.models.backbones.resnet import BasicBlock, Bottleneck
from torch import nn

from cxrdet.core.errors import ConfigError, check_choice
from cxrdet.models.layers.bot_attention import PositionAttention
from cxrdet.models.weights import check_pretrained_fits
from cxrdet.registry import MODELS

Attention = dict | Sequence[dict | Sequence[dict] | None]
NAME = 'attention'
POSITIONS = ('stage', 'blocks')


def add_attention(backbone: nn.Module, attention: Attention, *, position: str = 'stage') -> nn.Module:
    """Put attention layers behind the stages of any ResNet of MMDetection or MMPretrain or in its blocks, in place.

    ``position='stage'``: the layers become the last member of the stage's ``nn.Sequential``, ``layer4.attention``. All
    that reads the stage gets the map after attention, and no name of an existing parameter changes. For
    ``get_layer_depth``, where there is one, attention belongs to the last block of its stage.

    ``position='blocks'``: into every block of the stage, where the papers have it; see the top of this file.

    With ``norm_eval`` the norms of the attention, which have no statistics yet, still learn them.

    Args:
        backbone: a ResNet (ResNeXt, ResNetV1d, Res2Net, SEResNet, RegNet, …) whose ``res_layers`` names its stages.
        attention: one entry a stage: the config of a layer that takes ``in_channels`` and keeps the shape, e.g.
            ``dict(type='cxrdet.ECA')``, or a list of such configs, applied in this order, or None. A single config
            stands for one such layer behind every stage.
        position: 'stage' or 'blocks'.

    Returns:
        ``backbone``.

    Raises:
        ConfigError: if it has no stages, the number of entries is not theirs, a frozen stage is to get attention, or
            its blocks have no such place.
    """
    check_choice('position', position, POSITIONS)
    stages = [getattr(backbone, name) for name in getattr(backbone, 'res_layers', ())]
    if not stages:
        raise ConfigError(f'attention goes behind the stages of a ResNet, but {type(backbone).__name__} has no '
                          'res_layers that names its stages')
    entries = [attention] * len(stages) if isinstance(attention, dict) else list(attention)
    if len(entries) != len(stages):
        raise ConfigError('attention: expected one entry (config, list of configs or None) for each of the '
                          f'{len(stages)} stages, got {len(entries)}')
    for number, (stage, entry) in enumerate(zip(stages, entries), start=1):
        configs = [entry] if isinstance(entry, dict) else list(entry or ())
        if not configs:
            continue
        if number <= getattr(backbone, 'frozen_stages', -1):
            raise ConfigError(f'attention: stage {number} is frozen (frozen_stages={backbone.frozen_stages}), '
                              'attention behind it would never learn; lower frozen_stages or leave the stage out')
        if position == 'blocks':
            for block in stage:
                _into_block(block, configs)
        else:
            stage.add_module(NAME, _layers(configs, block_width(stage[-1])))
    backbone.train = partial(_train, backbone)
    if hasattr(backbone, 'get_layer_depth'):
        backbone.get_layer_depth = partial(_layer_depth, backbone)
    return backbone


def _train(backbone: nn.Module, mode: bool = True) -> nn.Module:
    """``train`` of a ResNet with attention: that of its class, but attention behind stages that learn follows mode."""
    type(backbone).train(backbone, mode)
    for stage in backbone.res_layers[max(getattr(backbone, 'frozen_stages', -1), 0):]:
        for name, module in getattr(backbone, stage).named_modules():
            if name.split('.')[-1] == NAME:
                module.train(mode)
    return backbone


def _layer_depth(backbone: nn.Module, param_name: str, prefix: str = '') -> tuple[int, int]:
    """``get_layer_depth`` of a ResNet with attention: see :meth:`AttentionResNet.get_layer_depth`."""
    stage, part, *rest = [*param_name.removeprefix(prefix).split('.', 2), '']
    if param_name.startswith(prefix) and stage in backbone.res_layers and part == NAME:
        last = sum(child != NAME for child, _ in getattr(backbone, stage).named_children()) - 1
        param_name = f'{prefix}{stage}.{last}.{rest[0]}'
    return type(backbone).get_layer_depth(backbone, param_name, prefix)


def block_width(block: nn.Module) -> int:
    """Channels that a block gives: those of its last convolution."""
    return (block.conv3 if hasattr(block, 'conv3') else block.conv2).out_channels


def _layers(configs: Sequence[dict], width: int) -> nn.Sequential:
    return nn.Sequential(*(MODELS.build({'in_channels': width, **cfg}) for cfg in configs))


def _into_block(block: nn.Module, configs: Sequence[dict]) -> None:
    """Put layers into a residual block: gates before its sum, self-attention in place of its second convolution."""
    if type(block).forward not in (BasicBlock.forward, Bottleneck.forward):
        raise ConfigError(f"position='blocks' is for the BasicBlock and Bottleneck of MMPretrain, got a block "
                          f"{type(block).__module__}.{type(block).__name__}; MMDetection's Bottleneck takes "
                          "plugins=[dict(cfg=..., position='after_conv3')]")
    width = block_width(block)
    gates = [cfg for cfg in configs if not _is_self_attention(cfg)]
    if len(configs) - len(gates) > 1:
        raise ConfigError("position='blocks': a block has one convolution that self-attention takes the place of, got "
                          f'{len(configs) - len(gates)} such layers')
    for cfg in configs:
        if cfg not in gates:
            block.conv2 = _instead_of(block.conv2, cfg)
    if gates:  # the blocks of MMPretrain call drop_path between the last norm and the sum
        block.drop_path = nn.Sequential(OrderedDict([(NAME, _layers(gates, width)), ('drop_path', block.drop_path)]))


def _is_self_attention(cfg: dict) -> bool:
    kind = MODELS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    return inspect.isclass(kind) and issubclass(kind, PositionAttention)


def _instead_of(conv: nn.Conv2d, cfg: dict) -> nn.Sequential:
    """Self-attention that takes (N, C, H, W) to what ``conv`` takes it to."""
    layer = MODELS.build({'in_channels': conv.in_channels, 'residual': False, **cfg})
    if layer.out_channels != conv.out_channels:
        raise ConfigError(f'{type(layer).__name__} in place of a convolution: expected {conv.out_channels} channels, '
                          f'got {layer.out_channels}; leave mid_channels out')
    parts = OrderedDict([(NAME, layer)])
    if max(conv.stride) > 1:
        parts['pool'] = nn.AvgPool2d(conv.stride, ceil_mode=True)
    return nn.Sequential(parts)


@MODELS.register_module()
def with_attention(backbone: dict, *, attention: Attention, position: str = 'stage') -> nn.Module:
    """Build any ResNet of MMDetection or MMPretrain and add attention to it, from a config.

    ``backbone=dict(type='cxrdet.with_attention', backbone=dict(type='mmdet.ResNeXt', depth=101),
    attention=[None, None, None, dict(type='cxrdet.BoTAttention', mid_channels=512)])``

    What comes out is that ResNet itself, so its weights, ``init_cfg`` and options go on as they were.

    Args:
        backbone: its config, with the scope in ``type``.
        attention, position: see :func:`add_attention`, as for what it raises.
    """
    return add_attention(MODELS.build(backbone), attention, position=position)


@MODELS.register_module()
class AttentionResNet(ResNet):
    """MMPretrain's ResNet with attention behind any of its stages or in their blocks.

    For classifiers and, with FPN or BiFPN, detectors.

    Stage s gives (N, C_s, ceil(H / 2^(s+1)), ceil(W / 2^(s+1))), C_s = 64, 128, 256, 512 for depths 18 and 34, four
    times as much from 50 on; detectors take ``out_indices=(0, 1, 2, 3)``, the default is the last stage alone.

    torchvision's ImageNet weights load with ``init_cfg=dict(type='Pretrained', checkpoint='resnet18.pth')`` or
    ``checkpoint='torchvision://resnet18'``; only the attention may be missing there, and may have a rate of its own:
    ``paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1), '.attention.': dict(lr_mult=1.)})``.

    Args:
        depth: 18, 34, 50, 101 or 152.
        attention: what stands behind which stage, see :func:`add_attention`; None: a plain ResNet.
        position: 'stage' or 'blocks', see :func:`add_attention`.
        zero_init_residual: the last batch norm of every block starts at 0, so that blocks start as the identity. Off,
            unlike in MMPretrain: in a short training with Adam from random weights the blocks would stay almost
            switched off. Weights that are loaded are not touched.
        **kwargs: of MMPretrain's ``ResNet``; ``init_cfg=None`` is its default, Kaiming's normal distribution.

    Raises:
        ConfigError: see :func:`add_attention`.
        CheckpointError: from ``init_weights``, if anything but attention is missing in a ``Pretrained`` checkpoint.
    """

    def __init__(self, depth: int, attention: Attention | None = None, *, position: str = 'stage',
                 zero_init_residual: bool = False, **kwargs) -> None:
        if kwargs.get('init_cfg') is None:  # to MMPretrain that means torch's first values, not its own
            kwargs.pop('init_cfg', None)
        super().__init__(depth, zero_init_residual=zero_init_residual, **kwargs)
        if attention is not None:
            add_attention(self, attention, position=position)

    def init_weights(self) -> None:
        """As in MMPretrain, which loads what fits of a checkpoint; here all that the network has must be in it."""
        given = self.init_cfg if isinstance(self.init_cfg, dict) else {}
        if given.get('type') == 'Pretrained' and not self.is_init:
            check_pretrained_fits(self, given['checkpoint'], prefix=given.get('prefix'), fresh=rf'.+\.{NAME}\..+')
        super().init_weights()

    def train(self, mode: bool = True) -> 'AttentionResNet':
        """As in MMPretrain, but the network is returned, as torch has it: ``AttentionResNet(18).eval()``."""
        super().train(mode)
        return self

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """The layer of a parameter, for rates that fall from layer to layer.

        For MMPretrain's ``LearningRateDecayOptimWrapperConstructor``. Layer 0 is the stem; stages 1 and 4 are one layer
        each, stage 2 one for every two and stage 3 one for every three blocks (four in both at depth 152), as in
        MMPretrain, which knows no depth 18. Attention belongs to the last block of its stage; what is not the
        backbone's (neck, head) is the layer after it.

        Args:
            param_name: name of the parameter in the whole model.
            prefix: of the backbone's parameters in it, ``'backbone.'``.

        Returns:
            The layer, and the number of layers, that of the head included.
        """
        blocks = self.stage_blocks
        sizes = [blocks[0], *((4, 4) if self.depth == 152 else (2, 3)), blocks[-1]][:len(blocks)]
        layers = [-(-count // size) for count, size in zip(blocks, sizes)]
        last = 1 + sum(layers)
        if not param_name.startswith(prefix):
            return last, last + 1
        stage, block, *_ = [*param_name.removeprefix(prefix).split('.'), '']
        if stage not in self.res_layers:
            return 0, last + 1
        i = self.res_layers.index(stage)
        return 1 + sum(layers[:i]) + int(block) // sizes[i], last + 1


def preset(position: str, stages: Sequence[int] | None, *, gate: dict | None = None,
           self_attention: dict | None = None) -> list[list[dict]]:
    """``attention`` of a preset: gate, then self-attention, behind stage 4 or as in the papers.

    In blocks, without ``stages``, a gate stands in all of them and self-attention in those of stage 4 alone. Raises
    ConfigError if a stage is none of 1 .. 4.
    """
    numbers = (1, 2, 3, 4)
    attending = (4,) if stages is None else stages
    gated = numbers if stages is None and position == 'blocks' else attending
    if not set(attending) <= set(numbers):
        raise ConfigError(f'stages: expected numbers in 1 .. 4, got {tuple(attending)}')
    return [[dict(cfg) for cfg, places in ((gate, gated), (self_attention, attending)) if cfg and number in places]
            for number in numbers]


@MODELS.register_module()
class ResNet18ECA(AttentionResNet):
    """ResNet-18 with efficient channel attention.

    Args:
        position: 'stage': behind the stages; 'blocks': in their blocks, as in the papers. See :func:`add_attention`.
        stages: of which stages (1 .. 4); None: 4, and with 'blocks' all for ECA and CA, 4 for self-attention.
        **kwargs: of :class:`AttentionResNet`, as in the other presets.
    """

    def __init__(self, *, position: str = 'stage', stages: Sequence[int] | None = None, **kwargs) -> None:
        super().__init__(18, preset(position, stages, gate=dict(type='cxrdet.ECA')), position=position, **kwargs)


@MODELS.register_module()
class ResNet18CA(AttentionResNet):
    """ResNet-18 with coordinate attention.

    Args:
        reduction: of :class:`cxrdet.models.layers.CoordinateAttention`.
        position, stages: as in :class:`ResNet18ECA`.
    """

    def __init__(self, *, reduction: int = 32, position: str = 'stage', stages: Sequence[int] | None = None,
                 **kwargs) -> None:
        gate = dict(type='cxrdet.CoordinateAttention', reduction=reduction)
        super().__init__(18, preset(position, stages, gate=gate), position=position, **kwargs)


@MODELS.register_module()
class ResNet18BoT(AttentionResNet):
    """ResNet-18 with self-attention over positions.

    Args:
        num_heads, init_scale: of :class:`cxrdet.models.layers.BoTAttention`.
        position, stages: as in :class:`ResNet18ECA`; its cost is quadratic in the positions, so early stages are dear.
    """

    def __init__(self, *, num_heads: int = 4, init_scale: float = 0., position: str = 'stage',
                 stages: Sequence[int] | None = None, **kwargs) -> None:
        layer = dict(type='cxrdet.BoTAttention', num_heads=num_heads, init_scale=init_scale)
        super().__init__(18, preset(position, stages, self_attention=layer), position=position, **kwargs)


@MODELS.register_module()
class ResNet18BoTLinear(AttentionResNet):
    """ResNet-18 with linear self-attention over positions.

    Args:
        num_heads, init_scale: of :class:`cxrdet.models.layers.LinearBoTAttention`.
        position, stages: as in :class:`ResNet18ECA`.
    """

    def __init__(self, *, num_heads: int = 4, init_scale: float = 0., position: str = 'stage',
                 stages: Sequence[int] | None = None, **kwargs) -> None:
        layer = dict(type='cxrdet.LinearBoTAttention', num_heads=num_heads, init_scale=init_scale)
        super().__init__(18, preset(position, stages, self_attention=layer), position=position, **kwargs)


@MODELS.register_module()
class ResNet18Hybrid(AttentionResNet):
    """ResNet-18 with coordinate attention, then linear self-attention.

    Args:
        num_heads, init_scale: of :class:`cxrdet.models.layers.LinearBoTAttention`.
        reduction: of :class:`cxrdet.models.layers.CoordinateAttention`.
        position, stages: as in :class:`ResNet18ECA`.
    """

    def __init__(self, *, num_heads: int = 4, reduction: int = 32, init_scale: float = 0., position: str = 'stage',
                 stages: Sequence[int] | None = None, **kwargs) -> None:
        entries = preset(position, stages, gate=dict(type='cxrdet.CoordinateAttention', reduction=reduction),
                         self_attention=dict(type='cxrdet.LinearBoTAttention', num_heads=num_heads,
                                             init_scale=init_scale))
        super().__init__(18, entries, position=position, **kwargs)
