"""Several detectors as one: their boxes, fused."""
import copy
from collections.abc import Sequence

import torch
from mmdet.models.detectors.base import BaseDetector
from mmdet.models.utils import samplelist_boxtype2tensor
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from cxrdet.core.detection.fusion import check_fusion, fuse_known
from cxrdet.core.errors import ConfigError
from cxrdet.models.ensemble_members import (
    MAX_PER_IMG,
    OnlyPredicts,
    build_members,
    checked_weights,
    class_orders,
    known_labels,
)
from cxrdet.models.fusable_boxes import FusableBoxes
from cxrdet.registry import MODELS


@MODELS.register_module()
class DetectorEnsemble(OnlyPredicts, BaseDetector):
    """An ensemble of detectors that tests, predicts and is saved like one detector; it is not trained.

    Each member is ``dict(config=FILE, checkpoint=FILE)`` or ``dict(model=dict(type=...), checkpoint=FILE)`` with, if
    need be, ``classes`` (by default those that the checkpoint names), ``pipeline`` (steps between loading and model; by
    default those of the config's test set), ``tta_model`` (that of the config) and ``scope`` (the default scope of its
    config). Without ``checkpoint`` the weights come from that of the ensemble.

    The ensemble's own pipeline loads an image and packs it, no more; resizing, padding and normalising are done for
    each member as it was trained, in this process. A member without a pipeline takes the batch as it is. All members
    get the image as the ensemble's loader reads it (bit depth, channels). Members' labels go by the names of the
    classes. Boxes only, no masks.

    Args:
        members: see above.
        fusion, fusion_cfg: method or preset, and arguments, see :func:`cxrdet.core.detection.fusion.fuse`.
        weights: of the members. Default: equal.
        classes: names and order of the ensemble's classes. Default: those of the first member.
        allow_missing: members may lack classes or have others. The boxes of a class are then fused over the members
            that know it; others are dropped.
        tta: test-time augmentation in each member: ``True``, or a dict with ``flips``, ``scales``, ``combine`` (see
            :func:`cxrdet.engine.tta.tta_pipeline`) and ``model`` (default: the member's ``tta_model``, or else
            ``dict(type='cxrdet.WBFTTAModel')``).
        max_per_img: boxes of an image that are kept.
        data_preprocessor: of BaseModel; the members have their own.

    Raises: ConfigError, CheckpointError if members or arguments do not fit.
    """

    def __init__(self, members: list[dict], *, fusion: str = 'wbf', fusion_cfg: dict | None = None,
                 weights: Sequence[float] | None = None, classes: Sequence[str] | None = None,
                 allow_missing: bool = False, tta: bool | dict | None = None, max_per_img: int = MAX_PER_IMG,
                 data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.fusion, self.fusion_cfg, self.max_per_img = fusion, dict(fusion_cfg or {}), max_per_img
        check_fusion(fusion, self.fusion_cfg, where='DetectorEnsemble')
        self._fusable = FusableBoxes('DetectorEnsemble')
        self.weights = checked_weights(weights, len(members))
        self.members = build_members(members, tta=tta)
        self.classes = tuple(classes or self.members[0].classes)
        orders = class_orders(self.classes, [member.classes for member in self.members], allow_missing=allow_missing)
        self._orders, self._known = [torch.tensor(order) for order in orders], known_labels(self.classes, orders)

    @torch.no_grad()
    def predict(self, batch_inputs, batch_data_samples: Sequence[DetDataSample]) -> list[DetDataSample]:
        """Predict images (C, H, W) as loaded, in a list or padded in one tensor, values 0 to 255, not normalised."""
        images = [image[:, :sample.img_shape[0], :sample.img_shape[1]]
                  for image, sample in zip(batch_inputs, batch_data_samples)]
        found = [member.test_step(images, batch_data_samples) for member in self.members]
        results = [copy.deepcopy(sample) for sample in batch_data_samples]
        samplelist_boxtype2tensor(results)
        for i, sample in enumerate(results):
            views = [self._of_member(number, predictions[i].pred_instances, sample)
                     for number, predictions in enumerate(found)]
            sample.pred_instances = self._fused(views)
        return results

    def _of_member(self, number: int, found: InstanceData, sample: DetDataSample) -> InstanceData:
        """Labels of the ensemble, and boxes in pixels of the original image."""
        if 'masks' in found:
            raise ConfigError(f'DetectorEnsemble fuses boxes only, but members.{number} predicts masks')
        found = self._fusable(found, f'members.{number} in {sample.metainfo.get("img_path", "an image")}')
        labels, boxes = self._orders[number].to(found.labels.device)[found.labels], found.bboxes
        if self.members[number].pipeline is not None:  # it took the image of the batch for the original one
            boxes = boxes / boxes.new_tensor([*sample.metainfo.get('scale_factor', (1.0, 1.0))] * 2)
        return InstanceData(bboxes=boxes, scores=found.scores, labels=labels)[labels >= 0]

    def _fused(self, views: Sequence[InstanceData]) -> InstanceData:
        boxes, scores, labels = fuse_known(
            *([view[key] for view in views] for key in ('bboxes', 'scores', 'labels')), self._known, fusion=self.fusion,
            weights=self.weights, most=self.max_per_img, **self.fusion_cfg)
        return InstanceData(bboxes=boxes, scores=scores, labels=labels)
