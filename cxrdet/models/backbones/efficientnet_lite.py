"""EfficientNet-Lite, as TensorFlow trained it, for classifiers and detectors."""
import math
from collections.abc import Sequence

from mmcv.cnn.bricks.conv2d_adaptive_padding import Conv2dAdaptivePadding
from mmdet.models.backbones import EfficientNet
from mmdet.models.utils import make_divisible
from torch import Tensor, nn
from torch.nn import functional

from cxrdet.core.errors import ConfigError, check_choice, check_numbers
from cxrdet.registry import MODELS

# Of lite0: kernel, channels, stride of the first block, expansion, blocks; stages of one list are one layer.
_STAGES = (
    [(3, 16, 1, 1, 1)], [(3, 24, 2, 6, 2)], [(5, 40, 2, 6, 2)], [(3, 80, 2, 6, 3), (5, 112, 1, 6, 3)],
    [(5, 192, 2, 6, 4), (3, 320, 1, 6, 1)])
_SCALES = {'lite0': (1.0, 1.0, 224), 'lite1': (1.0, 1.1, 240), 'lite2': (1.1, 1.2, 260)}  # width, depth, native size


@MODELS.register_module()
class SameConv2d(Conv2dAdaptivePadding):
    """TensorFlow's padding "same": the output has ceil(size / stride), an odd pixel of padding stands right and below.

    As MMCV's class, without its copy of the input where both sides get the same: strides of 1, odd kernels.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == (1, 1) and all(size % 2 for size in self.kernel_size):
            padding = tuple(size // 2 * step for size, step in zip(self.kernel_size, self.dilation))
            return functional.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)
        return super().forward(x)


@MODELS.register_module()
class EfficientNetLite(EfficientNet):
    """EfficientNet without squeeze-and-excitation and with ReLU6, which two CPU cores train in minutes.

    Images (N, 3, H, W), RGB as (x - 127) / 128, to the maps of ``out_indices``: 2, 3, 4, 5 have the strides 4, 8, 16,
    32, sizes rounded up, and 24, 40, 112, 320 channels (lite2: 24, 48, 120, 352); 6 is the convolution to 1280 channels
    on which classifiers stand. Padding and eps of the batch norms (1e-3), and so the outputs at any size, are those of
    timm's ``tf_efficientnet_lite*``. Tan and Le, arXiv 1905.11946; the Lite variants are Google's (tensorflow/tpu).

    Args:
        arch: 'lite0', 'lite1' or 'lite2': 4.7, 5.4, 6.1 M parameters with a classifier of 1000.
        out_indices: which maps, in rising order; what lies above the last is not built.
        frozen_stages: how many parts, the stem first, are not trained and keep their statistics: 0 to those that are
            built, 6 up to stride 32. ResNets count otherwise: their 0 is the stem.
        norm_eval: all batch norms keep their running statistics in training, as pretrained detectors have it.
        drop_path_rate: of the last block, 0 to below 1; the blocks before have less, in steps.
        **kwargs: further arguments of MMDetection's EfficientNet. Without ``init_cfg``, convolutions start as in
            TensorFlow: normal, variance 2 / (kernel's area * outputs of a group).

    Raises:
        ConfigError: an unknown ``arch``, or a number out of these ranges.
    """
    arch_settings = {arch: (1.0, 1.0, size) for arch, (_, _, size) in _SCALES.items()}  # layers are scaled here

    def __init__(self, arch: str = 'lite0', *, out_indices: Sequence[int] = (6,), frozen_stages: int = 0,
                 drop_path_rate: float = 0., init_cfg: dict | list | None = None, **kwargs) -> None:
        check_choice('EfficientNetLite: arch', arch, tuple(_SCALES))
        self.layer_settings = {'l': _layers(*_SCALES[arch][:2])}
        _check(out_indices, frozen_stages, drop_path_rate)
        super().__init__(arch, out_indices=tuple(out_indices), frozen_stages=frozen_stages,
                         drop_path_rate=drop_path_rate, conv_cfg=dict(type='cxrdet.SameConv2d'),
                         norm_cfg=dict(type='BN', eps=1e-3), act_cfg=dict(type='ReLU6'), init_cfg=init_cfg, **kwargs)
        self._freeze_stages()  # before the optimizer is built

    def init_weights(self) -> None:
        if self.init_cfg is None:
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    outputs = math.prod(module.kernel_size) * module.out_channels // module.groups
                    nn.init.normal_(module.weight, std=math.sqrt(2 / outputs))
        super().init_weights()

    def train(self, mode: bool = True) -> 'EfficientNetLite':
        super().train(mode)  # returns nothing there
        return self

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """The layer of a parameter, for rates that fall from layer to layer.

        For MMPretrain's ``LearningRateDecayOptimWrapperConstructor``: the stem is layer 0, the five stages and, where
        there is one, the convolution behind them one each; neck and head are the layer after.

        Args:
            param_name: name of the parameter in the whole model.
            prefix: of the backbone's parameters in it, ``'backbone.'``.

        Returns:
            The layer, and the number of layers, that of the head included.
        """
        last = len(self.layers)
        inside = param_name.startswith(f'{prefix}layers.')
        return int(param_name.removeprefix(prefix).split('.')[1]) if inside else last, last + 1


def _check(out_indices: Sequence[int], frozen_stages: int, drop_path_rate: float) -> None:
    last = len(_STAGES) + 1
    rising = isinstance(out_indices, Sequence) and len(out_indices) > 0 and all(
        isinstance(index, int) for index in out_indices) and sorted(set(out_indices)) == list(out_indices)
    if not rising or not 0 <= out_indices[0] <= out_indices[-1] <= last:
        raise ConfigError(f'EfficientNetLite: out_indices: expected rising numbers from 0 to {last}, (2, 3, 4, 5) for '
                          f'a detector and (6,) for a classifier, got {out_indices}.')
    if not isinstance(frozen_stages, int) or not 0 <= frozen_stages <= out_indices[-1] + 1:
        raise ConfigError(f'EfficientNetLite: frozen_stages: expected a number from 0, nothing is frozen, to '
                          f'{out_indices[-1] + 1}, all for these out_indices, got {frozen_stages}.')
    check_numbers('EfficientNetLite', drop_path_rate=(drop_path_rate, '[0, 1)'))


def _layers(width: float, depth: float) -> list[list[list[int]]]:
    """MMDetection's table: a list a layer, of blocks (kernel, channels, no SE, stride, expansion, block or not).

    Stem and last convolution are not scaled, nor the number of blocks of the first and last stage.
    """
    layers = [[[3, 32, 0, 2, 0, -1]]]
    for layer in _STAGES:
        layers.append([])
        for kernel, channels, stride, expansion, blocks in layer:
            count = blocks if blocks == 1 else math.ceil(depth * blocks)
            layers[-1] += [[kernel, make_divisible(channels * width, 8), 0, stride if i == 0 else 1, expansion, 0]
                           for i in range(count)]
    return [*layers, [[1, 1280, 0, 1, 0, -1]]]
