"""A classifier that learns from a teacher's class scores as well as from the labels."""
from collections.abc import Sequence

import torch
from mmpretrain.models.heads import MultiLabelClsHead
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from cxrdet.core.errors import ConfigError
from cxrdet.models.distillation import Distilled, recorded, scaled
from cxrdet.models.losses.distillation_loss import DistillationLoss
from cxrdet.registry import MODELS


@MODELS.register_module()
class DistilledClassifier(Distilled):
    """A classifier trained with a frozen teacher; its checkpoints are those of a plain student::

        model = dict(_delete_=True, type='cxrdet.DistilledClassifier', student={{_base_.model}},
                     teacher=dict(config='resnet34.py', checkpoint='resnet34.pth'))

    The loss is ``(1 - alpha) * L_own + alpha * T^2 KL(teacher || student)`` (Hinton et al. 2015, arXiv 1503.02531): the
    head's own loss, logged times 1 - alpha as ``loss``, and the mean divergence of the images (``loss_distill``).
    Single-label heads have one distribution over the classes; multi-label heads one of yes and no for each class,
    averaged over the classes, of unknown labels, too. Further losses of a head stay as they are.

    Args:
        student: config of the classifier, as its own config has it under ``model``.
        teacher: ``dict(config=FILE, checkpoint=FILE)`` or what else a member of :class:`cxrdet.DetectorEnsemble` is.
            Its classes must have the student's names, in any order.
        alpha: weight of the teacher's part, within 0 .. 1.
        temperature: T.
        classes: names of the student's classes in the order of its labels; the tools set it from the data.
        data_preprocessor: the student's, where its own config has it at the top.

    Raises: see :class:`cxrdet.models.distillation.Distilled`.
    """

    def __init__(self, student: dict, teacher: dict, *, alpha: float = 0.7, temperature: float = 3.0,
                 classes: Sequence[str] | None = None, data_preprocessor: dict | None = None) -> None:
        super().__init__(student, teacher, alpha=alpha, classes=classes, data_preprocessor=data_preprocessor)
        self.multi_label = isinstance(getattr(self, 'head', None), MultiLabelClsHead)
        self.distillation = DistillationLoss(temperature, use_sigmoid=self.multi_label)

    def check_teacher(self, teacher: nn.Module) -> None:
        if isinstance(getattr(teacher, 'head', None), MultiLabelClsHead) != self.multi_label:
            raise ConfigError('DistilledClassifier: of teacher and student one is multi-label and the other is not')

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Losses by name, ``loss`` and ``loss_distill`` weighted as the class says.

        Args:
            inputs: (N, C, H, W), preprocessed.
            data_samples: N, with the labels.
        """
        teacher = self.teacher
        with recorded(head=self.head) as calls:
            losses = super().loss(inputs, data_samples)
        logits = calls['head'][1]
        with torch.no_grad():
            target = teacher(inputs, mode='tensor')
        for name, values in (('student', logits), ('teacher', target)):
            if not isinstance(values, Tensor) or values.ndim != 2 or values.shape[1] != len(self.classes):
                raise ConfigError(f'DistilledClassifier: the {name} gives no logits of shape (N, {len(self.classes)}) '
                                  f'for the classes {", ".join(self.classes)}')
        share = self.alpha / (len(self.classes) if self.multi_label else 1)
        losses['loss'] = scaled(losses['loss'], 1 - self.alpha)
        losses['loss_distill'] = share * self.distillation(logits, self.in_order(target))
        return losses
