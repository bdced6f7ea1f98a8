"""Swin Transformer whose weights come the way they do for any other backbone."""
from mmdet.models.backbones import SwinTransformer as _SwinTransformer
from mmengine.model import BaseModule

from cxrdet.registry import MODELS


@MODELS.register_module()
class SwinTransformer(_SwinTransformer):
    """MMDetection's SwinTransformer, which takes any ``init_cfg``.

    The parent reads the checkpoint of its ``init_cfg`` by itself, looks for entries that begin with ``backbone.`` and
    leaves out, without a word, what does not fit. Here ``Pretrained`` has its usual ``prefix``, and
    ``cxrdet.ConvertedPretrained`` loads the weights of torchvision, all of them or none. With ``convert_weights``, for
    checkpoints of Swin's authors, the parent does it. Liu et al., "Swin Transformer", ICCV 2021 (arXiv 2103.14030).
    """

    def init_weights(self) -> None:
        if self.init_cfg is None or self.convert_weights:
            super().init_weights()
        else:
            BaseModule.init_weights(self)

    def train(self, mode: bool = True) -> 'SwinTransformer':
        super().train(mode)  # returns nothing there
        return self
