"""DenseNet for detectors: the maps of its four dense blocks, at strides 4, 8, 16 and 32."""
from collections.abc import Sequence

from mmpretrain.models.backbones import DenseNet
from torch import Tensor, nn

from cxrdet.registry import MODELS


@MODELS.register_module()
class MultiLevelDenseNet(DenseNet):
    """MMPretrain's DenseNet that gives the output of dense blocks instead of transitions.

    An output is that of a dense block after the norm and ReLU with which its transition begins; that of the transition,
    as MMPretrain has it, is of half the size, but for the last. DenseNet-121: 256, 512, 1024, 1024 channels at strides
    4, 8, 16, 32; DenseNet-201: 256, 512, 1792, 1920. The parent's checkpoints fit. Huang, Liu, van der Maaten,
    Weinberger, "Densely Connected Convolutional Networks", CVPR 2017 (arXiv 1608.06993).

    Args:
        arch: '121', '161', '169' or '201', or what else the parent takes.
        out_indices: which of the blocks, counted from 0, in rising order.
        norm_eval: batch norm keeps its running statistics in training, too, as pretrained detectors have it.
        **kwargs: further arguments of the parent.
    """

    def __init__(self, arch: str | dict = '121', *, out_indices: Sequence[int] = (0, 1, 2, 3), norm_eval: bool = False,
                 **kwargs) -> None:
        super().__init__(arch, out_indices=list(out_indices), **kwargs)
        self.norm_eval = norm_eval

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (N, 3, H, W) to maps (N, C_i, about H / 2^(i + 2), about W / 2^(i + 2))."""
        x = self.stem(x)
        maps = []
        for number, (stage, transition) in enumerate(zip(self.stages, self.transitions)):
            norm, activation, *to_next = transition.children()
            x = activation(norm(stage(x)))
            if number in self.out_indices:
                maps.append(x)
            for layer in to_next:
                x = layer(x)
        return tuple(maps)

    def train(self, mode: bool = True) -> 'MultiLevelDenseNet':
        super().train(mode)
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self
