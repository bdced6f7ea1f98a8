"""A detector that learns from a teacher's class scores and features as well as from the boxes."""
from collections.abc import Sequence

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from cxrdet.core.errors import ConfigError, check_choice
from cxrdet.models.distillation import Adapter, Distilled, recorded, scaled
from cxrdet.models.losses.distillation_loss import DistillationLoss, correlation_distance
from cxrdet.registry import MODELS

IMITATION = dict(weight=1.0, levels=None, adapter=None)


@MODELS.register_module()
class DistilledDetector(Distilled):
    """A detector trained with a frozen teacher; its checkpoints are those of a plain student::

        model = dict(_delete_=True, type='cxrdet.DistilledDetector', student={{_base_.model}},
                     teacher=dict(config='faster_rcnn_r101.py', checkpoint='r101.pth'))

    Classes are learnt by ``(1 - alpha) * L_cls + alpha * T^2 KL(teacher || student)`` (Hinton et al. 2015, arXiv
    1503.02531): the head's own loss, logged times 1 - alpha as ``loss_cls``, and ``loss_distill_cls``. The losses of
    boxes and of the proposal network stay whole.

    - Two stages (a single box head): the regions that the student has sampled for its own loss go through the teacher's
      RoI extractor and box head. Mean over the regions.
    - One stage: the class maps of the same anchors. A mean weighted by the teacher's highest probability of a class
      (Du et al., "Distilling Object Detectors with Feature Richness", NeurIPS 2021, arXiv 2111.00674).

    Heads with softmax have one distribution over classes and background, heads with sigmoid one of yes and no for each
    class, added up over the classes as their own losses are.

    Args:
        student: config of the detector, as its own config has it under ``model``.
        teacher: ``dict(config=FILE, checkpoint=FILE)`` or what else a member of :class:`cxrdet.DetectorEnsemble` is.
            Its classes must have the student's names, in any order; a one-stage teacher the student's anchors.
        alpha: weight of the teacher's part of the class loss, within 0 .. 1.
        temperature: T.
        imitation: also imitate the teacher's pyramid (:func:`correlation_distance`, mean over the levels, logged as
            ``loss_distill_feat``): dict(weight=1.0, levels=[0, 1, ...] (default: all), adapter=(CHANNELS, CHANNELS of
            the teacher)). With ``adapter``, one 1x1 convolution a level maps the student's features to the teacher's
            channels; these are not saved with the student, and :class:`cxrdet.DistillationHook` keeps them over a
            resumption.
        classes: names of the student's classes in the order of its labels; the tools set it from the data.
        data_preprocessor: the student's, where its own config has it at the top.

    Raises: ConfigError if the student's heads are of another kind; and see
        :class:`cxrdet.models.distillation.Distilled`.
    """

    def __init__(self, student: dict, teacher: dict, *, alpha: float = 0.7, temperature: float = 3.0,
                 imitation: dict | None = None, classes: Sequence[str] | None = None,
                 data_preprocessor: dict | None = None) -> None:
        super().__init__(student, teacher, alpha=alpha, classes=classes, data_preprocessor=data_preprocessor)
        head = _class_head(self, 'student')
        self.distillation = DistillationLoss(temperature, use_sigmoid=_uses_sigmoid(head))
        self.imitation = None if imitation is None else IMITATION | dict(imitation)
        for key in imitation or ():
            check_choice('DistilledDetector: a key of imitation', key, IMITATION)
        self.adapters = nn.ModuleList()
        if self.imitation is not None and self.imitation['adapter'] is not None:
            levels = self.imitation['levels']
            number = len(levels) if levels is not None else getattr(getattr(self, 'neck', None), 'num_outs', None)
            if number is None:
                raise ConfigError('DistilledDetector: imitation with adapter needs levels=[...]: the student has no '
                                  'neck that says how many it has')
            with torch.random.fork_rng(devices=[]):  # the student draws the weights that it would draw without
                self.adapters.extend(Adapter(*self.imitation['adapter']) for _ in range(number))

    def check_teacher(self, teacher: nn.Module) -> None:
        ours, theirs = _class_head(self, 'student'), _class_head(teacher, 'teacher')
        if isinstance(ours, BaseDenseHead) != isinstance(theirs, BaseDenseHead):
            raise ConfigError('DistilledDetector: of teacher and student one has one stage and the other has two; they '
                              'must score the same regions or anchors')
        if _uses_sigmoid(ours) != _uses_sigmoid(theirs):
            raise ConfigError('DistilledDetector: of teacher and student one scores classes by softmax and the other '
                              'by sigmoid (loss_cls)')
        if isinstance(ours, BaseDenseHead) and not _same_priors(ours, theirs):
            raise ConfigError('DistilledDetector: the anchors of teacher and student differ (anchor_generator: scales, '
                              'ratios, strides); a one-stage student learns from the scores of the same anchors')

    def loss(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> dict:
        """The student's losses by name, those of the classes weighted as the class says, and what the teacher adds.

        Args:
            batch_inputs: (N, C, H, W), preprocessed.
            batch_data_samples: N, with boxes and labels.
        """
        teacher, two_stages = self.teacher, hasattr(self, 'roi_head')
        watched = dict(head=_class_head(self, 'student'), pyramid=self.neck if self.with_neck else self.backbone)
        if two_stages:
            watched['extractor'] = self.roi_head.bbox_roi_extractor
        with recorded(**watched) as calls:
            losses = super().loss(batch_inputs, batch_data_samples)
        with torch.no_grad():
            pyramid = teacher.extract_feat(batch_inputs)
            if two_stages:
                target = teacher.roi_head._bbox_forward(pyramid, calls['extractor'][0][1])['cls_score']
            else:
                target = _rows(teacher.bbox_head(pyramid)[0], teacher.bbox_head)
        logits, weight = calls['head'][1][0], None
        if not two_stages:
            chances = target.float().sigmoid() if self.distillation.use_sigmoid else target.float().softmax(-1)
            weight = chances[:, :len(self.classes)].amax(-1)  # the teacher's highest of a class, without background
            logits = _rows(logits, self.bbox_head)
        if logits.shape != target.shape:
            raise ConfigError(f'DistilledDetector: class scores of shape {tuple(logits.shape)} from the student, '
                              f'{tuple(target.shape)} from the teacher; they must score the same regions and classes')
        losses['loss_cls'] = scaled(losses['loss_cls'], 1 - self.alpha)
        losses['loss_distill_cls'] = self.alpha * self.distillation(logits, self.in_order(target), weight)
        if self.imitation is not None:
            losses['loss_distill_feat'] = self.imitation['weight'] * self._imitate(calls['pyramid'][1], pyramid)
        return losses

    def _imitate(self, ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
        levels = self.imitation['levels']
        levels = range(len(ours)) if levels is None else levels
        if max(levels) >= min(len(ours), len(theirs)) or (self.adapters and len(self.adapters) != len(levels)):
            raise ConfigError(f'DistilledDetector: imitation of the levels {list(levels)} '
                              f'with {len(self.adapters)} adapters, but the student has {len(ours)} levels and the '
                              f'teacher {len(theirs)}')
        distances = []
        for i, level in enumerate(levels):
            features = self.adapters[i](ours[level]) if self.adapters else ours[level]
            if features.shape != theirs[level].shape:
                raise ConfigError(f'DistilledDetector: level {level} is {tuple(ours[level].shape)} in the student and '
                                  f'{tuple(theirs[level].shape)} in the teacher (N, C, H, W). Other channels need '
                                  'imitation=dict(adapter=(CHANNELS, CHANNELS of the teacher)); height and width must '
                                  'be the same')
            distances.append(correlation_distance(features, theirs[level]))
        return torch.stack(distances).mean()


def _class_head(model: nn.Module, who: str) -> nn.Module:
    """The one head that scores classes."""
    two_stages = hasattr(model, 'roi_head')
    head = getattr(model.roi_head if two_stages else model, 'bbox_head', None)
    fits = isinstance(model.roi_head, StandardRoIHead) if two_stages else isinstance(head, BaseDenseHead) and hasattr(
        head, 'cls_out_channels')
    if not fits or not isinstance(head, nn.Module) or isinstance(head, nn.ModuleList):
        raise ConfigError(f'DistilledDetector: the {who} must be a one-stage detector with dense class maps, or a '
                          f'two-stage one with a single box head (StandardRoIHead); this is a {type(model).__name__} '
                          f'with {type(getattr(model, "roi_head", head)).__name__}')
    return head


def _uses_sigmoid(head: nn.Module) -> bool:
    loss = head.loss_cls
    return bool(getattr(getattr(loss, 'loss', loss), 'use_sigmoid', False))


def _same_priors(ours: nn.Module, theirs: nn.Module) -> bool:
    ours, theirs = ours.prior_generator, theirs.prior_generator
    if ours.strides != theirs.strides or ours.num_base_priors != theirs.num_base_priors:
        return False
    return all(torch.equal(mine.cpu(), other.cpu()) for mine, other in zip(
        getattr(ours, 'base_anchors', ()), getattr(theirs, 'base_anchors', ()), strict=True))


def _rows(maps: Sequence[Tensor], head: nn.Module) -> Tensor:
    """Class maps (N, A * C, H, W) of all levels as logits (N * A * H * W of all levels, C)."""
    return torch.cat([level.permute(0, 2, 3, 1).reshape(-1, head.cls_out_channels) for level in maps])
