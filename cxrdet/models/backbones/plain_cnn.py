"""A plain convolutional network: convolution, optionally batch norm, ReLU and max pooling, repeated."""
from collections.abc import Sequence

from mmcv.cnn import build_norm_layer
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn

from cxrdet.core.errors import ConfigError
from cxrdet.registry import MODELS

INIT = dict(type='Kaiming', layer='Conv2d', mode='fan_in', nonlinearity='relu')


@MODELS.register_module()
class PlainCNN(BaseBackbone):
    """Stages of a 3x3 convolution without padding, ReLU and 2x2 max pooling: the smallest of baselines.

    Own work, after a network of which only the outline was known: conv 32, conv 64, dense 512, 15 classes at 224 px,
    95,579,087 parameters. With kernels of 3 px the convolutions have 896 and 18,496 of them and the classifier 7,695:
    512 * (64 * 54 * 54 + 1) are left for the dense layer, and without padding 224 px become 222, 111, 109, 54.

    ``MultiLabelHead(in_channels=64 * 54 * 54, hidden=(512,))`` adds the dense layers.

    Args:
        channels: Channels of the stages.
        in_channels: Channels of the images.
        norm_cfg: Of a normalisation behind each convolution, which has no bias then, e.g. ``dict(type='BN')``.
        out_indices: Stages whose maps are given, counted from 0; by default the last.
        frozen_stages: The first stages that are not trained, statistics of batch norm included; -1 for none.
        init_cfg: MMEngine's initialisation of the convolutions.

    Raises:
        ConfigError: If a stage is asked for that is not there.
    """

    def __init__(self, channels: Sequence[int] = (32, 64), in_channels: int = 3, *, norm_cfg: dict | None = None,
                 out_indices: Sequence[int] | None = None, frozen_stages: int = -1,
                 init_cfg: dict | list | None = INIT) -> None:
        super().__init__(init_cfg=init_cfg)
        count = len(channels)
        self.out_indices = (count - 1,) if out_indices is None else tuple(out_indices)
        if not all(0 <= index < count for index in self.out_indices) or frozen_stages > count:
            raise ConfigError(f'PlainCNN: {count} stages, but out_indices is {out_indices} and frozen_stages is '
                              f'{frozen_stages}.')
        self.frozen_stages = frozen_stages
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, bias=norm_cfg is None),
                          *([build_norm_layer(norm_cfg, after)[1]] if norm_cfg else []),
                          nn.ReLU(inplace=True), nn.MaxPool2d(2))
            for before, after in zip((in_channels, *channels), channels))
        self._freeze()

    def _freeze(self) -> None:
        self.stages[:max(self.frozen_stages, 0)].requires_grad_(False).eval()

    def train(self, mode: bool = True) -> 'PlainCNN':
        super().train(mode)
        self._freeze()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, in_channels, H, W) to maps (N, channels[i], h, w) with ``h = (H - 2) // 2`` for each stage passed."""
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps[index] for index in self.out_indices)
