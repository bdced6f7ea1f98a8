"""Several classifiers as one: the mean of their probabilities or of their logits."""
import copy
from collections.abc import Sequence

import torch
from mmpretrain.models.classifiers import BaseClassifier
from mmpretrain.models.heads import MultiLabelClsHead
from mmpretrain.structures import DataSample
from torch import Tensor

from cxrdet.core.errors import ConfigError, check_choice
from cxrdet.models.ensemble_members import Member, OnlyPredicts, build_members, checked_weights, class_orders
from cxrdet.registry import MODELS


@MODELS.register_module()
class ClassifierEnsemble(OnlyPredicts, BaseClassifier):
    """An ensemble of classifiers that tests, predicts and is saved like one classifier; it is not trained.

    Members are given as to :class:`cxrdet.DetectorEnsemble`; each has its own pipeline and preprocessing, and classes
    go by name. All are single-label, or all multi-label.

    Args:
        members: list of dict(config=..., checkpoint=...) or dict(model=..., checkpoint=..., ...).
        mean: of 'probs' (probabilities) or 'logits' (then softmax or sigmoid).
        weights: of the members. Default: equal.
        classes: names and order of the ensemble's classes. Default: those of the first member.
        tta: test-time augmentation in each member, as for DetectorEnsemble; with mean='probs' only.
        thr: multi-label: probability from which on a class is called present.
        data_preprocessor: of BaseModel; the members have their own.

    Raises: ConfigError, CheckpointError if members or arguments do not fit.
    """

    def __init__(self, members: list[dict], *, mean: str = 'probs', weights: Sequence[float] | None = None,
                 classes: Sequence[str] | None = None, tta: bool | dict | None = None, thr: float = 0.5,
                 data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor=None)  # the Runner gives that of the config, but each member has its own
        check_choice('ClassifierEnsemble: mean', mean, ('probs', 'logits'))
        if mean == 'logits' and tta:
            raise ConfigError('ClassifierEnsemble: mean="logits" is not to be had with tta')
        self.mean, self.thr = mean, thr
        weights = checked_weights(weights, len(members)) or [1.0] * len(members)
        self.weights = [weight / sum(weights) for weight in weights]
        self.members = build_members(members, tta=tta)
        self.classes = tuple(classes or self.members[0].classes)
        orders = class_orders(self.classes, [member.classes for member in self.members])
        self._columns = [[order.index(label) for label in range(len(self.classes))] for order in orders]
        kinds = {isinstance(getattr(member.model, 'head', None), MultiLabelClsHead) for member in self.members}
        if len(kinds) > 1:
            raise ConfigError('ClassifierEnsemble: some members are multi-label and some are not')
        self.multi_label = kinds.pop()

    @torch.no_grad()
    def predict(self, inputs, data_samples: Sequence[DataSample]) -> list[DataSample]:
        """Predict images (C, H, W) as loaded, in a list or one tensor, values 0 to 255, not normalised."""
        values = sum(weight * self._values(member, inputs, data_samples)[:, columns]
                     for member, weight, columns in zip(self.members, self.weights, self._columns))
        if self.mean == 'logits':
            values = values.sigmoid() if self.multi_label else values.softmax(-1)
        results = [copy.deepcopy(sample) for sample in data_samples]
        for sample, score in zip(results, values):
            label = (score >= self.thr).nonzero().reshape(-1) if self.multi_label else score.argmax().reshape(1)
            sample.set_pred_score(score).set_pred_label(label)
        return results

    def _values(self, member: Member, inputs, data_samples: Sequence[DataSample]) -> Tensor:
        """Probabilities or logits (N, C) of a member, in the order of its own classes."""
        if self.mean == 'probs':
            return torch.stack([sample.pred_score for sample in member.test_step(inputs, data_samples)])
        values = member.logits(inputs, data_samples)
        if not isinstance(values, Tensor) or values.ndim != 2:
            raise ConfigError(f'ClassifierEnsemble: {type(member.model).__name__} gives no logits (N, C); use '
                              'mean="probs"')
        return values

    def forward(self, inputs, data_samples=None, mode: str = 'tensor'):
        return self.predict(inputs, data_samples) if mode == 'predict' else self.loss()
