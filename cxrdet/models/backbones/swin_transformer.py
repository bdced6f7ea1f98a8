"""Swin Transformer whose weights come the way they do for any other backbone."""
from mmdet.models.backbones import SwinTransformer as _SwinTransformer
from mmengine.model import BaseModule

from cxrdet.registry import MODELS


@MODELS.register_module()
class SwinTransformer(_SwinTransformer):
    """MMDetection's SwinTransformer, which takes any ``init_cfg``.

    The parent reads its checkpoint by itself and leaves out, without a word, what does not fit. Here ``Pretrained`` and
    ``cxrdet.ConvertedPretrained`` do it; with ``convert_weights``, for checkpoints of Swin's authors, the parent.
    Liu et al., "Swin Transformer", ICCV 2021 (arXiv 2103.14030).
    """

    def init_weights(self) -> None:
        if self.init_cfg is None or self.convert_weights:
            super().init_weights()
        else:
            BaseModule.init_weights(self)

    def train(self, mode: bool = True) -> 'SwinTransformer':
        super().train(mode)  # returns nothing there
        return self
