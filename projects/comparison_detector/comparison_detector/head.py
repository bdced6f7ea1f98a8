"""A box head that classifies regions by comparing them with prototypes of the classes."""
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmdet.models.layers import multiclass_nms
from mmdet.models.roi_heads.bbox_heads import ConvFCBBoxHead
from mmengine.structures import InstanceData
from torch import Tensor, nn

from cxrdet.core.errors import ConfigError, check_choice, check_numbers
from cxrdet.registry import MODELS

from .prototypes import cosines, merge_references, squared_distances

METRICS, BACKGROUNDS, MERGES = ('learned', 'cosine'), ('stacked', 'mean', 'free'), ('max', 'mean')


def is_whole(value: object, low: int) -> bool:
    """Whether a value is a whole number from ``low`` on, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


class PrototypeComparison(nn.Module):
    """Signed logits of regions from comparing them with the prototypes of C classes and of the background.

    Arguments are those of :class:`ComparisonBBoxHead`; ``shape`` is D, h, w.

    Attributes:
        prototypes: (C * S, D, h, w), those of the first class first, what is compared with outside of :meth:`using`: a
            buffer; with ``learned`` a parameter.
    """

    def __init__(self, num_classes: int, shape: tuple[int, int, int], *, metric: str, temperature: float,
                 background: str, per_image: int, merge: str, learned: bool) -> None:
        super().__init__()
        self.metric, self.temperature, self.background, self.merge = metric, temperature, background, merge
        self.num_classes, self.per_image = num_classes, per_image
        start = torch.zeros(num_classes * (per_image or 1), *shape)
        if learned:
            self.prototypes = nn.Parameter(start.normal_(std=0.01))
        else:
            self.register_buffer('prototypes', start)
        self._factor = 1 / (shape[1] * shape[2] * shape[0] ** 0.5)  # as a scaled dot product, and the mean of positions
        if metric == 'learned':  # -1: nearer is higher; of this size, for Adam moves every weight by its rate
            self.scale = nn.Parameter(torch.full(shape, -1.))
        channels = shape[0]
        if background == 'free':
            self.background_prototype = nn.Parameter(torch.empty(1, *shape).normal_(std=0.01))
        else:
            inputs = channels * num_classes if background == 'stacked' else channels
            self.background_conv = nn.Conv2d(inputs, channels, 3, padding=1)
        self._live: Tensor | None = None

    @contextmanager
    def using(self, prototypes: Tensor) -> Iterator[None]:
        """Compare with these (C, S, D, h, w) instead, with gradients into them."""
        self._live = prototypes
        try:
            yield
        finally:
            self._live = None

    def forward(self, features: Tensor) -> Tensor:
        """(N, D * h * w) or (N, D, h, w) -> (N, C + 1), the background last; float32 at least."""
        prototypes = self.prototypes if self._live is None else self._live.flatten(0, 1)
        by_class = prototypes.unflatten(0, (self.num_classes, -1))
        features = features.reshape(len(features), *prototypes.shape[1:])
        all_of_them = torch.cat([prototypes, self._background(by_class.mean(dim=1)).to(prototypes)])
        if self.metric == 'cosine':
            scores = cosines(features, all_of_them) / self.temperature
        else:
            scores = squared_distances(features, all_of_them, self._factor * self.scale)
        of_classes = merge_references(scores[:, :-1].unflatten(1, (self.num_classes, -1)), self.merge)
        return torch.cat([of_classes, scores[:, -1:]], dim=1)

    def _background(self, prototypes: Tensor) -> Tensor:
        """(1, D, h, w) from those of the classes (C, D, h, w)."""
        if self.background == 'free':
            return self.background_prototype
        stacked = prototypes.flatten(0, 1) if self.background == 'stacked' else prototypes.mean(dim=0)
        return self.background_conv(stacked[None].to(self.background_conv.weight.dtype))

    def distances(self, logits: Tensor) -> Tensor:
        """Distance to the nearest prototype of a class, (N,), from logits (N, C + 1): 1 - cosine in [0, 2], or the
        learned distance, which knows no bounds. The greater, the less is a region any of the known classes."""
        nearest = logits[:, :-1].amax(dim=1)
        return 1 - self.temperature * nearest if self.metric == 'cosine' else -nearest


@MODELS.register_module()
class ComparisonBBoxHead(ConvFCBBoxHead):
    """A box head whose classes are prototypes: a region's score of a class is how near it is to the class's.

    The region's map (D, 7, 7) is compared as it is; boxes are regressed by layers of their own, as published. Boxes
    that are predicted carry ``unknown_scores``, the distance to the nearest prototype, see
    :meth:`PrototypeComparison.distances`. Prototypes come from :class:`ComparisonDetector`, which holds the reference
    images; with ``learned`` they are weights like others, and any detector can use the head. Source: see
    :mod:`.prototypes`. Unlike the published code, neither batch norm nor ReLU stands behind the score, so logits have a
    sign.

    Args:
        metric: 'learned': one weight for each channel and position of ``(f - p)^2``, shared by the classes, as
            published. 'cosine': cosine over ``temperature``.
        temperature: Of the cosine, > 0; 0.05 is the factor 20 of few-shot fine-tuning (X. Wang et al., ICML 2020).
        background: Where the background's prototype comes from. 'stacked': a 3x3 convolution over the prototypes of
            all classes, as published: their number is fixed. 'mean': the same over the mean of them. 'free': a weight.
            To add classes without training, take one of the latter two.
        per_image: 0: one prototype a class. S: one for each of S reference images.
        merge: With ``per_image``: the 'max' or the 'mean' of a class's scores.
        learned: Prototypes are weights, and no reference image is needed: a cosine classifier on maps.
        num_reg_fcs: Layers of ``fc_out_channels`` before the boxes.
        **kwargs: Of ``ConvFCBBoxHead``: in_channels, num_classes, reg_class_agnostic, fc_out_channels, loss_cls …

    Raises:
        ConfigError: An argument is out of range, or the loss is no softmax cross entropy.
    """

    def __init__(self, *, metric: str = 'learned', temperature: float = 0.05, background: str = 'stacked',
                 per_image: int = 0, merge: str = 'max', learned: bool = False, num_reg_fcs: int = 2,
                 **kwargs) -> None:
        for name, value, choices in (('metric', metric, METRICS), ('background', background, BACKGROUNDS),
                                     ('merge', merge, MERGES)):
            check_choice(f'ComparisonBBoxHead: {name}', value, choices)
        check_numbers('ComparisonBBoxHead', temperature=(temperature, '(0, inf)'))
        if not is_whole(per_image, 0):
            raise ConfigError(f'ComparisonBBoxHead: per_image must be a whole number from 0 on, got {per_image!r}.')
        super().__init__(num_reg_fcs=num_reg_fcs, **kwargs)
        if self.custom_cls_channels or getattr(self.loss_cls, 'use_sigmoid', False) or self.with_avg_pool:
            raise ConfigError('ComparisonBBoxHead compares maps of regions and has a logit for the background: it '
                              'takes loss_cls=dict(type="CrossEntropyLoss") without use_sigmoid, and '
                              'with_avg_pool=False.')
        self.fc_cls = PrototypeComparison(
            self.num_classes, (self.in_channels, *self.roi_feat_size), metric=metric, temperature=temperature,
            background=background, per_image=per_image, merge=merge, learned=learned)

    def _predict_by_feat_single(self, roi: Tensor, cls_score: Tensor, bbox_pred: Tensor, img_meta: dict,
                                rescale: bool = False, rcnn_test_cfg=None) -> InstanceData:
        """The parent's results of an image, with ``unknown_scores``."""
        if rcnn_test_cfg is None or not len(roi):
            found = super()._predict_by_feat_single(roi, cls_score, bbox_pred, img_meta, rescale, rcnn_test_cfg)
            if rcnn_test_cfg is not None:
                found.unknown_scores = roi.new_zeros(len(found.scores))
            return found
        every = super()._predict_by_feat_single(roi, cls_score, bbox_pred, img_meta, rescale, None)
        boxes, labels, kept = multiclass_nms(
            every.bboxes, every.scores, rcnn_test_cfg.score_thr, rcnn_test_cfg.nms, rcnn_test_cfg.max_per_img,
            return_inds=True, box_dim=self.bbox_coder.encode_size)
        regions = torch.div(kept, self.num_classes, rounding_mode='floor')
        return InstanceData(bboxes=boxes[:, :-1], scores=boxes[:, -1], labels=labels,
                            unknown_scores=self.fc_cls.distances(cls_score.detach())[regions])
