"""Test-time augmentation of classifiers: the mean of the views' probabilities, and the classes that follow from it."""
from collections.abc import Sequence

from mmpretrain.models import AverageClsScoreTTA
from mmpretrain.models.heads import MultiLabelClsHead
from mmpretrain.structures import DataSample
from torch import Tensor

from cxrdet.engine.process import unwrap
from cxrdet.registry import MODELS


@MODELS.register_module()
class MeanScoreTTAModel(AverageClsScoreTTA):
    """MMPretrain's ``AverageClsScoreTTA`` whose predicted classes are those of the mean.

    The parent averages ``pred_score`` over the views and leaves ``pred_label`` as the first view had it, so that
    whatever reads the labels sees no augmentation. Here one class an image is the most probable one, and several are
    chosen as the model's head does, by its ``thr`` or its ``topk``.

    Args:
        module: the classifier: a model, or its config (the Runner and the tools give it).
        **kwargs: ``data_preprocessor`` of the parent.
    """

    def _merge_single_sample(self, data_samples: Sequence[DataSample]) -> DataSample:
        merged = super()._merge_single_sample(data_samples)
        return merged.set_pred_label(self._labels(merged.pred_score))

    def _labels(self, score: Tensor) -> Tensor:
        """The classes (K,) that probabilities (C,) stand for."""
        head = getattr(unwrap(self.module), 'head', None)
        if not isinstance(head, MultiLabelClsHead):
            return score.argmax().reshape(1)
        return score.topk(head.topk).indices if head.thr is None else (score >= head.thr).nonzero().reshape(-1)
