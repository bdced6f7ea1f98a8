"""COCO's average precision from arrays, through faster-coco-eval, which is imported when first used.

Source: T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.
"""
import contextlib
import io
from collections.abc import Mapping, Sequence

import numpy as np

from cxrdet.core.detection.boxes import xyxy_to_xywh
from cxrdet.core.detection.matching import as_boxes
from cxrdet.datasets.formats.coco import coco_annotation

#: Third axis of the table: all boxes, area < 32^2, 32^2..96^2, > 96^2 pixels of the original image.
AREAS = ('all', 's', 'm', 'l')
IOU_THRS = np.linspace(0.5, 0.95, 10)


def coco_tables(predictions: Sequence[Mapping], targets: Sequence[Mapping], classes: Sequence[str], *,
                image_ids: Sequence | None = None) -> tuple[dict, list[dict]]:
    """Return ground truth (a COCO file's content) and predictions (a COCO result file's content).

    Args:
        predictions, targets: as for :func:`cxrdet.core.detection.matching.pair_boxes`; ``ignore`` becomes ``iscrowd``,
            and targets may have ``width``, ``height`` and ``file_name``, too.
        classes: names; the category id is the label.
        image_ids: default 0, 1, 2 ...
    """
    image_ids = range(len(targets)) if image_ids is None else image_ids
    images, annotations, results = [], [], []
    for image_id, prediction, target in zip(image_ids, predictions, targets, strict=True):
        images.append({'id': image_id, 'width': int(target.get('width', 0)), 'height': int(target.get('height', 0)),
                       'file_name': str(target.get('file_name', ''))})
        ignore = np.asarray(target.get('ignore', np.zeros(len(target['labels'])))).astype(bool)
        boxes = as_boxes(target['boxes'], 'targets').tolist()
        for box, label, crowd in zip(boxes, target['labels'], ignore, strict=True):
            annotations.append(coco_annotation(len(annotations) + 1, image_id, int(label), box, crowd=crowd))
        boxes = xyxy_to_xywh(as_boxes(prediction['boxes'])).tolist()
        for box, score, label in zip(boxes, prediction['scores'], prediction['labels'], strict=True):
            results.append({'image_id': image_id, 'category_id': int(label), 'bbox': box, 'score': float(score)})
    categories = [{'id': i, 'name': str(name)} for i, name in enumerate(classes)]
    return {'images': images, 'annotations': annotations, 'categories': categories}, results


def precision_and_recall(truth: dict, results: Sequence[dict], *,
                         max_dets: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Precision by IoU threshold (0.50, 0.55 ... 0.95), recall (0, 0.01 ... 1), class
    and area (:data:`AREAS`), and the highest recall by IoU threshold, class and area.

    Args:
        truth, results: as :func:`coco_tables` gives them, with whole numbers as image ids.
        max_dets: detections of one class that count in an image, best first (COCO: 100).

    Returns: (10, 101, C, 4) and (10, C, 4) float64; NaN for a class without ground truth in that range of areas.
    """
    num_classes = len(truth['categories'])
    if not truth['images'] or not num_classes:
        return tuple(np.full((len(IOU_THRS), *steps, num_classes, len(AREAS)), np.nan) for steps in ((101,), ()))
    from faster_coco_eval import COCO, COCOeval_faster
    detections = [{**result, 'id': i, 'iscrowd': 0, 'area': result['bbox'][2] * result['bbox'][3]}
                  for i, result in enumerate(results, start=1)]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        evaluation = COCOeval_faster(_index(COCO, truth, [dict(box) for box in truth['annotations']]),
                                     _index(COCO, truth, detections), iouType='bbox')
        evaluation.params.imgIds = [image['id'] for image in truth['images']]
        evaluation.params.catIds = list(range(num_classes))
        evaluation.params.maxDets = [max_dets]
        evaluation.params.iouThrs = IOU_THRS
        evaluation.evaluate()
        evaluation.accumulate()
    # pycocotools adds 2.2e-16 to every denominator, faster-coco-eval does not: rounded, they are the same
    tables = (np.asarray(evaluation.eval[name], np.float64)[..., 0].round(12) for name in ('precision', 'recall'))
    return tuple(np.where(table < 0, np.nan, table) for table in tables)


def _index(coco_type: type, truth: dict, annotations: list[dict]):
    coco = coco_type()
    coco.dataset = {'images': truth['images'], 'categories': truth['categories'], 'annotations': annotations}
    coco.createIndex()
    return coco
