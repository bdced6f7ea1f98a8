"""Online hard example mining over the elements or the samples of a batch."""
import math

import torch
from torch import Tensor, nn

from cxrdet.core.errors import ConfigError, check_choice, check_numbers
from cxrdet.registry import MODELS


@MODELS.register_module()
class OHEMLoss(nn.Module):
    """Average another loss over the hardest share of a batch only.

    Shrivastava, Gupta, Girshick, "Training Region-based Object Detectors with Online Hard Example Mining", CVPR 2016
    (arXiv 1604.03540), with a share in place of a number. Of n candidates the ``ceil(keep * n)`` with the highest loss
    are kept; elements of unknown label (NaN) or weight 0 are none. ``keep=1`` gives the wrapped loss.

    In a detector, MMDetection's ``OHEMSampler`` mines among the proposals; as ``loss_cls`` of a box head this loss
    mines among the regions that were sampled (``faster_rcnn_fpn_*_ohem_loss.py``). Dense heads (RPN, RetinaNet, FCOS)
    read ``use_sigmoid`` in the config of their loss, where it must be given, and call the loss level by level.

    Args:
        loss: Config of a loss that takes ``reduction_override='none'``: the losses of MMPretrain and MMDetection and
            the masked ones of this package. Its own ``reduction`` is not looked at; the result is a mean.
        keep: Share that is kept, within 0 .. 1, not 0.
        over: 'elements', single class scores of single samples (a softmax loss has one element a sample); or
            'samples', which are ranked by the mean of their known elements and kept whole.
        use_sigmoid: For heads that read it here; that of the wrapped loss. Default: not told to the head, which then
            takes the loss for one of a softmax.

    Raises:
        ConfigError: If an argument is out of range, or ``use_sigmoid`` is not that of the wrapped loss.
    """

    def __init__(self, loss: dict | nn.Module, keep: float = 0.7, *, over: str = 'elements',
                 use_sigmoid: bool | None = None) -> None:
        super().__init__()
        check_numbers('OHEMLoss', keep=(keep, '(0, 1]'))
        check_choice('OHEMLoss: over', over, ('elements', 'samples'))
        self.loss = loss if isinstance(loss, nn.Module) else MODELS.build(loss)
        self.keep, self.over = keep, over
        self.use_sigmoid = getattr(self.loss, 'use_sigmoid', use_sigmoid)
        if use_sigmoid not in (None, self.use_sigmoid):
            raise ConfigError(f'OHEMLoss: use_sigmoid={use_sigmoid}, but the wrapped {type(self.loss).__name__} has '
                              f'use_sigmoid={self.use_sigmoid}; give both the same.')

    def __getattr__(self, name: str):
        """Box heads ask their loss how many scores to predict and how to read them; the wrapped one answers."""
        if name.startswith('custom_') or name in ('get_cls_channels', 'get_activation', 'get_accuracy'):
            return getattr(self.loss, name)
        return super().__getattr__(name)

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None, avg_factor: float | None = None,
                reduction_override: str | None = None, **kwargs) -> Tensor:
        """The mean loss of what is kept; 0 with gradient 0 where there is no candidate.

        Args:
            pred: As the wrapped loss takes it, the samples first.
            target: Likewise; NaN marks unknown labels.
            weight: Likewise; (N,) or the shape of the loss.
            avg_factor: What the wrapped loss would divide its sum by, unless it chooses that itself (``RoIFocalLoss``).
                It stands for all candidates, so the sum of the kept ones is divided by their share of it.
            reduction_override: 'none' gives the wrapped loss's elements, 0 where not kept; 'sum' their sum.
            **kwargs: Go to the wrapped loss.
        """
        weights = {} if weight is None else {'weight': weight}
        loss = self.loss(pred, target, reduction_override='none', **weights, **kwargs)
        candidates = self._candidates(loss, target, weight)
        kept = self._hardest(loss.detach(), candidates)
        hard = torch.where(kept, loss, 0.0)
        if reduction_override in ('none', 'sum'):
            return hard if reduction_override == 'none' else hard.sum()
        if hasattr(self.loss, 'get_avg_factor'):
            avg_factor = self.loss.get_avg_factor(pred, target, weight, avg_factor)
        count = kept.sum().clamp(min=1)
        if avg_factor is not None:
            count = avg_factor * count / candidates.sum().clamp(min=1)
        return hard.sum() / count

    @staticmethod
    def _candidates(loss: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        """Where the loss means something; the shape of the loss."""
        found = torch.ones_like(loss, dtype=torch.bool)
        if target.is_floating_point() and target.shape == loss.shape:
            found &= ~target.isnan()
        if weight is not None:
            found &= (weight.reshape(-1, *[1] * (loss.ndim - 1)) if weight.ndim < loss.ndim else weight) > 0
        return found

    def _hardest(self, loss: Tensor, candidates: Tensor) -> Tensor:
        """Where the kept elements are; ties are broken by position."""
        if self.over == 'samples' and loss.ndim > 1:
            known = candidates.flatten(1).sum(1)
            means = torch.where(candidates, loss, 0.0).flatten(1).sum(1) / known.clamp(min=1)
            samples = self._hardest(means, known > 0)
            return candidates & samples.reshape(-1, *[1] * (loss.ndim - 1))
        number = math.ceil(self.keep * int(candidates.sum()) - 1e-9)  # 0.1 * 30 is a little above 3
        ranked = loss.masked_fill(~candidates, -math.inf).flatten().sort(descending=True, stable=True).indices
        kept = torch.zeros(loss.numel(), dtype=torch.bool, device=loss.device)
        kept[ranked[:number]] = True
        return kept.reshape(loss.shape) & candidates
