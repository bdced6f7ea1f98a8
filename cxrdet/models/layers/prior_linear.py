"""A linear classifier whose scores start at a small probability."""
import math

from torch import nn

from cxrdet.core.errors import check_numbers
from cxrdet.registry import MODELS


@MODELS.register_module()
class PriorLinear(nn.Linear):
    """``nn.Linear`` whose bias starts at ``-log((1 - prior) / prior)``, so that each sigmoid starts near ``prior``.

    Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, arXiv 1708.02002, section 4.1: else the first steps
    learn from the many regions of background alone. As ``cls_predictor_cfg=dict(type='cxrdet.PriorLinear')`` in any box
    head of MMDetection whose class scores are read through a sigmoid (:class:`cxrdet.RoIFocalLoss`).

    Args:
        in_features, out_features: As for ``nn.Linear``; a head gives them.
        prior: Probability, within 0 .. 1, neither of them.

    Raises:
        ConfigError: If ``prior`` is out of range.
    """

    def __init__(self, in_features: int, out_features: int, *, prior: float = 0.01) -> None:
        check_numbers('PriorLinear', prior=(prior, '(0, 1)'))
        self.start = -math.log((1 - prior) / prior)
        super().__init__(in_features, out_features)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.init_weights()

    def init_weights(self) -> None:
        """Set the bias; MMEngine calls this after the ``init_cfg`` of the head, which sets it to 0."""
        nn.init.constant_(self.bias, self.start)
