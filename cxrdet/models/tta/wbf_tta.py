"""Test-time augmentation of detectors: the boxes of all views of an image, brought back and fused."""
from collections.abc import Sequence

from mmdet.models.test_time_augs import DetTTAModel
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_flip
from mmengine.structures import InstanceData
from torch import Tensor

from cxrdet.core.detection.fusion import check_fusion, fuse
from cxrdet.core.errors import ConfigError
from cxrdet.models.fusable_boxes import FusableBoxes
from cxrdet.registry import MODELS


@MODELS.register_module()
class WBFTTAModel(DetTTAModel):
    """MMDetection's ``DetTTAModel`` that merges the views by weighted boxes fusion or another method.

    A view is an image that was resized, flipped (``horizontal``, ``vertical``, ``diagonal``), or both; the pipeline
    makes them (:func:`cxrdet.engine.tta.tta_pipeline`), the detector gives its boxes in pixels of the original image,
    and the flip is undone here. ``flip`` and ``flip_direction`` must be among the ``meta_keys`` of flipped views.

    Sources: ``mmengine.model.BaseTTAModel``; see :mod:`cxrdet.core.detection.fusion` for the methods.

    Args:
        module: the detector: a model, or its config (the Runner and the tools give it).
        fusion: 'wbf', 'nmw', 'nms', 'soft_nms', 'voting', or a preset (:data:`cxrdet.core.detection.fusion.PRESETS`);
            for a detector that ends in soft-NMS, 'wbf_one_per_model'.
        fusion_cfg: the method's arguments, e.g. ``dict(iou_thr=0.55, conf_type='avg')``.
        weights: one per view, in the order of the pipeline. Default: equal.
        max_per_img: boxes of an image that are kept.
        **kwargs: ``data_preprocessor`` of the parent.

    Raises: ConfigError for an unknown method or argument, masks, or a number of views other than that of weights.
    """

    def __init__(self, module, *, fusion: str = 'wbf', fusion_cfg: dict | None = None,
                 weights: Sequence[float] | None = None, max_per_img: int = 300, **kwargs) -> None:
        super().__init__(module=module, **kwargs)
        self.fusion, self.fusion_cfg, self.weights = fusion, dict(fusion_cfg or {}), weights
        self.max_per_img, self._fusable = max_per_img, FusableBoxes('WBFTTAModel')
        check_fusion(fusion, self.fusion_cfg, where='WBFTTAModel')

    def val_step(self, data: dict) -> list[DetDataSample]:
        """Predict, as in a test; a validation loop calls this."""
        return self.test_step(data)

    def _merge_single_sample(self, data_samples: Sequence[DetDataSample]) -> DetDataSample:
        views = [sample.pred_instances for sample in data_samples]
        if any('masks' in view for view in views):
            raise ConfigError('WBFTTAModel merges boxes only, but the model predicts masks')
        if self.weights is not None and len(self.weights) != len(views):
            raise ConfigError(f'WBFTTAModel: {len(self.weights)} weights for {len(views)} views')
        views = [self._fusable(view, f'a view of {sample.metainfo.get("img_path", "an image")}')
                 for view, sample in zip(views, data_samples)]
        boxes, scores, labels = fuse(list(map(_unflipped, views, data_samples)), [view.scores for view in views],
                                     [view.labels for view in views], fusion=self.fusion, weights=self.weights,
                                     **self.fusion_cfg)
        merged, kept = data_samples[0], slice(self.max_per_img)
        merged.pred_instances = InstanceData(bboxes=boxes[kept], scores=scores[kept], labels=labels[kept])
        return merged


def _unflipped(view: InstanceData, sample: DetDataSample) -> Tensor:
    """Boxes (N, 4) of a view in pixels of the original image, as if it had not been flipped."""
    if not sample.metainfo.get('flip'):
        return view.bboxes
    return bbox_flip(view.bboxes, sample.ori_shape, sample.flip_direction)
