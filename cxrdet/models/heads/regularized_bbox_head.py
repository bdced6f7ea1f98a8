"""A box head whose fully connected layers are normalised over the batch and thinned by dropout."""
import copy
from collections import OrderedDict

from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from torch import nn

from cxrdet.core.errors import ConfigError
from cxrdet.registry import MODELS

# What the parent does. Its own way, Xavier for all that is in shared_fcs, ends at the weights of a norm.
INIT = [dict(type='Xavier', layer='Linear', distribution='uniform'),
        dict(type='Normal', std=0.01, override=dict(name='fc_cls')),
        dict(type='Normal', std=0.001, override=dict(name='fc_reg'))]


@MODELS.register_module()
class RegularizedBBoxHead(Shared2FCBBoxHead):
    """MMDetection's ``Shared2FCBBoxHead`` with batch norm and dropout in its two shared layers.

    Each layer is linear, batch norm, ReLU, dropout. (MMDetection applies the ReLU outside of the layer, so dropout
    stands before it; it scales by numbers that are not negative, which commutes.) The batch of the norm is all sampled
    regions of all images, two at least; on evaluation it uses its running means. The weights to which an L2 penalty
    belongs are called ``linear.weight``, ``fc_cls.weight`` and ``fc_reg.weight``, for ``paramwise_cfg.custom_keys``.

    Args:
        fc_out_channels: Units of each of the two layers.
        dropout: Share of the units that is zeroed in training, within 0 .. 1, not 1.
        norm: Whether to normalise the batch.
        **kwargs: Of ``Shared2FCBBoxHead``: in_channels, num_classes, loss_cls, loss_bbox …

    Raises:
        ConfigError: If ``dropout`` is out of range.
    """

    def __init__(self, fc_out_channels: int = 1024, *, dropout: float = 0.3, norm: bool = True, **kwargs) -> None:
        if not 0 <= dropout < 1:
            raise ConfigError(f'RegularizedBBoxHead: dropout must be within 0 .. 1 and below 1, got {dropout}.')
        kwargs.setdefault('init_cfg', copy.deepcopy(INIT))
        super().__init__(fc_out_channels, **kwargs)
        for i, linear in enumerate(self.shared_fcs):
            layers = {'linear': linear} | ({'norm': nn.BatchNorm1d(fc_out_channels)} if norm else {})
            self.shared_fcs[i] = nn.Sequential(OrderedDict(layers, dropout=nn.Dropout(dropout)))
