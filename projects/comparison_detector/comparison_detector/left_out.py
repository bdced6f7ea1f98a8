"""A class that was left out of the training: how well a detector tells that its objects are none that it knows."""
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from mmdet.structures.bbox import bbox2roi
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope
from mmengine.structures import InstanceData
from torch import Tensor
from torchvision.ops import box_iou

from cxrdet.checkpoints.checkpoint import Checkpoint, install_safe_loader
from cxrdet.core.bootstrap import percentile_interval
from cxrdet.core.classification.roc import auroc, bootstrap_areas
from cxrdet.core.detection.average_precision import average_precision
from cxrdet.core.detection.matching import pair_boxes
from cxrdet.core.errors import ConfigError, check_choice
from cxrdet.engine.process import build_model, pick_device
from cxrdet.preflight.check import check_config, set_classes
from cxrdet.preflight.config import load_config

from .detector import ComparisonDetector


def region_logits(detector: ComparisonDetector, levels: Sequence[Tensor], boxes: list[Tensor]) -> list[Tensor]:
    """Logits (N_i, C + 1) of given regions, the background last.

    Args:
        levels: of the pyramid, each (B, C, H, W), as ``extract_feat`` gives them.
        boxes: for each image (N_i, 4) xyxy in its pixels.
    """
    head = detector.roi_head
    features = head.bbox_roi_extractor(levels[:head.bbox_roi_extractor.num_inputs], bbox2roi(boxes))
    return list(head.bbox_head(features)[0].split([len(own) for own in boxes]))


def _images(detector: ComparisonDetector, dataset) -> Iterator[tuple[int, dict, InstanceData]]:
    """The images of a data set as the detector takes them, and what is true of them."""
    for number in range(len(dataset)):
        data = detector.data_preprocessor(pseudo_collate([dataset[number]]), False)
        yield number, data, data['data_samples'][0].gt_instances


@torch.no_grad()
def stages(config: Config | str | Path, checkpoint: str | Path, *, device: str = 'auto') -> list[dict]:
    """Where objects are lost: whether they are proposed, and whether they are named once they are.

    Args:
        config, checkpoint: Of a detector that knows all classes of ``config``'s test set.
        device: As for :func:`cxrdet.apis.predict`.

    Returns: for each class ``class``, ``boxes`` (their number), ``proposed``, the share of them that a proposal covers
    with an IoU of at least 0.5; where the true box itself is the region, ``nearest``, the share whose best class is
    theirs, and ``named``, the share of which it also beats the background.

    Raises: ConfigError, DataError, CheckpointError.
    """
    cfg = config.copy() if isinstance(config, Config) else load_config(config)
    install_safe_loader()
    read = Checkpoint.read(checkpoint)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet')):
        set_classes(check_config(cfg), read.needed_classes)
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        detector, classes = build_model(cfg, read, pick_device(device))
        labels, found = [], []
        for _, data, truth in _images(detector, dataset):
            levels = detector.extract_feat(data['inputs'])
            logits, = region_logits(detector, levels, [truth.bboxes])
            proposals, = detector.rpn_head.predict(levels, data['data_samples'], rescale=False)
            covered = box_iou(truth.bboxes, proposals.bboxes).amax(dim=1) >= 0.5
            labels.append(truth.labels.cpu().numpy())
            best = [scores.argmax(dim=1) == truth.labels for scores in (logits[:, :-1], logits)]
            found.append(torch.stack([covered, *best], dim=1).cpu().numpy())
    labels, found = np.concatenate(labels), np.concatenate(found)
    return [{'class': name, 'boxes': int((labels == label).sum()),
             **dict(zip(('proposed', 'nearest', 'named'), found[labels == label].mean(axis=0).tolist()))}
            for label, name in enumerate(classes) if (labels == label).any()]


@torch.no_grad()
def unknown_areas(config: Config | str | Path, checkpoint: str | Path, left_out: str, *, samples: int = 1000,
                  device: str = 'auto') -> list[dict]:
    """How well scores tell objects of a class that was left out from those of the known classes, given their boxes.

    Over the true boxes of ``config``'s test set, which names all classes, three scores of the same model:
    ``distance`` to the nearest prototype; ``softmax``: 1 less the probability of the most probable known class, which
    is the usual one (D. Hendrycks, K. Gimpel, ICLR 2017); ``background``: its probability.

    Args:
        config, checkpoint: Of a detector that was trained without the class.
        left_out: Name of the class.
        samples: Draws of the bootstrap, over images.
        device: As for :func:`cxrdet.apis.predict`.

    Returns: for each score ``score``, ``AUROC`` (0.5: chance), ``low``, ``high``, ``left_out`` and ``known`` (boxes).

    Raises: ConfigError if the model knows the class, or the test set does not; DataError, CheckpointError.
    """
    install_safe_loader()
    read = Checkpoint.read(checkpoint)
    if left_out in read.needed_classes:
        raise ConfigError(f'{checkpoint}: the model was trained on "{left_out}": it is not left out.')
    cfg = config.copy() if isinstance(config, Config) else load_config(config)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet')):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        check_choice('the class left out', left_out, dataset.metainfo['classes'])
        set_classes(check_config(cfg), read.needed_classes)
        detector, _ = build_model(cfg, read, pick_device(device))
        scores, labels, images = [], [], []
        for number, data, truth in _images(detector, dataset):
            logits, = region_logits(detector, detector.extract_feat(data['inputs']), [truth.bboxes])
            likely = logits.softmax(dim=1)
            distance = detector.heads[0].fc_cls.distances(logits)
            scores.append(torch.stack([distance, 1 - likely[:, :-1].amax(dim=1), likely[:, -1]], dim=1).cpu().numpy())
            labels.append(truth.labels.cpu().numpy())
            images += [number] * len(truth.labels)
    true = np.concatenate(labels) == dataset.metainfo['classes'].index(left_out)
    values = np.concatenate(scores).astype(np.float64)
    truth = np.repeat(true[:, None], 3, axis=1).astype(float)
    draws = bootstrap_areas(truth, values, groups=np.array(images), samples=samples)
    return [dict(score=name, AUROC=float(area), low=float(low), high=float(high), left_out=int(true.sum()),
                 known=int((~true).sum()))
            for name, area, low, high in zip(('distance', 'softmax', 'background'), auroc(truth, values),
                                             *percentile_interval(draws))]


def precision_by_chance(predictions: Sequence[dict], targets: Sequence[dict], label: int, *, shuffles: int = 20,
                        seed: int = 0) -> float:
    """Average precision at IoU 0.5 of the boxes of a class if their scores are drawn at random: a mean over draws.

    Args:
        predictions, targets: As for :func:`cxrdet.core.detection.matching.pair_boxes`.
        label: Of the class.
        shuffles, seed: Number of draws, their seed.
    """
    rng, found = np.random.default_rng(seed), []
    for _ in range(shuffles):
        drawn = [dict(each, scores=rng.random(len(each['scores']))) for each in predictions]
        table = pair_boxes(drawn, targets, lowest=0.5, most=100).lesions(0.5)
        mine = table.labels == label
        found.append(average_precision(table.scores[mine], table.hits[mine], int(table.lesions[:, label].sum())))
    return float(np.mean(found))
