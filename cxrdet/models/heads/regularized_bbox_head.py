"""A box head whose fully connected layers are normalised over the batch, thinned by dropout and held small by L2."""
import copy
from collections import OrderedDict

import torch
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from torch import Tensor, nn

from cxrdet.core.errors import check_numbers
from cxrdet.registry import MODELS

# What the parent does. Its own way, Xavier for all that is in shared_fcs, ends at the weights of a norm.
INIT = [dict(type='Xavier', layer='Linear', distribution='uniform'),
        dict(type='Normal', std=0.01, override=dict(name='fc_cls')),
        dict(type='Normal', std=0.001, override=dict(name='fc_reg'))]


@MODELS.register_module()
class RegularizedBBoxHead(Shared2FCBBoxHead):
    """MMDetection's ``Shared2FCBBoxHead`` with batch norm and dropout in its two shared layers, and an L2 loss.

    Each layer is linear, batch norm, ReLU, dropout. (MMDetection applies the ReLU outside of the layer, so dropout
    stands before it; it scales by numbers that are not negative, which commutes.) The batch of the norm is all sampled
    regions of all images, two at least; on evaluation it uses its running means.

    ``loss_l2 = l2 * sum of w^2`` over the weights of the head's linear layers (the two shared ones, scores, boxes), not
    their biases, is what Keras' ``kernel_regularizer=l2(1e-4)`` adds, to the validation loss too: compare
    ``val/loss_cls`` and ``val/loss_bbox`` with those of another head. The decay of an optimizer comes on top. With SGD,
    a decay of 2 l2 would be the same; AdamW's is another, for it divides the gradient of this term, not its decay.

    Args:
        fc_out_channels: Units of each of the two layers.
        dropout: Share of the units that is zeroed in training, within 0 .. 1, not 1.
        norm: Whether to normalise the batch.
        l2: Factor of the sum of squares, 0 or more; with 0 there is no ``loss_l2``.
        **kwargs: Of ``Shared2FCBBoxHead``: in_channels, num_classes, loss_cls, loss_bbox …

    Raises:
        ConfigError: If ``dropout`` or ``l2`` is out of range.
    """

    def __init__(self, fc_out_channels: int = 1024, *, dropout: float = 0.3, norm: bool = True, l2: float = 1e-4,
                 **kwargs) -> None:
        check_numbers('RegularizedBBoxHead', dropout=(dropout, '[0, 1)'), l2=(l2, '[0, inf)'))
        kwargs.setdefault('init_cfg', copy.deepcopy(INIT))
        super().__init__(fc_out_channels, **kwargs)
        self.l2 = l2
        for i, linear in enumerate(self.shared_fcs):
            layers = {'linear': linear} | ({'norm': nn.BatchNorm1d(fc_out_channels)} if norm else {})
            self.shared_fcs[i] = nn.Sequential(OrderedDict(layers, dropout=nn.Dropout(dropout)))

    def loss(self, *args, **kwargs) -> dict[str, Tensor]:
        """The parent's losses, and ``loss_l2``, a number in float32 at least."""
        losses = super().loss(*args, **kwargs)
        if self.l2:
            weights = [part.weight for part in self.modules() if isinstance(part, nn.Linear)]
            losses['loss_l2'] = self.l2 * sum(
                weight.to(torch.promote_types(weight.dtype, torch.float32)).square().sum() for weight in weights)
        return losses
