import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from cxrdet.core.detection.matching import pair_boxes
from cxrdet.core.errors import check_numbers
from cxrdet.core.files import write_atomic
from cxrdet.core.main_scores import detection_intervals
from cxrdet.core.predictions import boxes_of_truth
from cxrdet.core.rates import Rates, mean_of_known, precision_recall_f1
from cxrdet.evaluation.metrics.coco_backend import AREAS, coco_tables, precision_and_recall
from cxrdet.evaluation.metrics.log_tables import absent_text, text_table
from cxrdet.registry import METRICS


def compared_boxes(metric: BaseMetric, sample: Mapping, *more: str) -> tuple[dict, dict]:
    """Predictions and ground truth of an image, as :func:`cxrdet.core.detection.matching.pair_boxes` takes them;
    ValueError if the sample lacks ``instances`` or one of the keys ``more``.
    """
    for key in ('instances', *more):
        if key not in sample:
            raise ValueError(f'{type(metric).__name__} needs "{key}" of each image, but the samples have none. Add '
                             f'"{key}" to the meta_keys of PackDetInputs in the validation and test pipelines')
    found = {name: sample['pred_instances'][key].detach().cpu() for name, key in
             (('boxes', 'bboxes'), ('scores', 'scores'), ('labels', 'labels'))}
    return {'boxes': found['boxes'].double().numpy().reshape(-1, 4), 'scores': found['scores'].double().numpy(),
            'labels': found['labels'].numpy()}, boxes_of_truth(sample['instances'])


@METRICS.register_module()
class DetectionMetric(BaseMetric):
    """COCO mAP and AR, both per class too, and precision, recall and F1 at one score.

    The ground truth is what the data set gives, boxes with ``ignore_flag`` as COCO's
    crowds, so that COCO, VOC and any other reader are judged alike. ``apis.train`` and
    ``apis.test`` let the pipeline pass it on; where it is run otherwise::

        dict(type='PackDetInputs',
             meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances'))

    Scalars (with the prefix ``coco/``): ``bbox_mAP``, ``bbox_mAP_50``, ``bbox_mAP_75``,
    ``bbox_mAP_s``, ``bbox_mAP_m``, ``bbox_mAP_l`` and ``bbox_AR@100`` (the number is
    ``max_dets``) as in MMDetection's CocoMetric, but neither rounded nor -1;
    ``precision``, ``recall``, ``F1`` over the boxes of all classes (micro); with
    ``classwise`` also ``AP_<class>``, ``AP50_<class>``, ``AR_<class>``,
    ``precision_<class>``, ``recall_<class>``, ``F1_<class>``. AR is the recall that all
    counted detections reach, averaged over the IoU thresholds of the mAP. A class
    without ground truth is NaN, stays out of the means and is named in the log. With
    ``intervals`` also the ends of 95 % intervals over resampled images: ``bbox_mAP_low``,
    ``bbox_mAP_high``, the same of ``bbox_mAP_50``, ``bbox_AR@100``, and of ``AP_<class>``,
    ``AP50_<class>``, ``AR_<class>``.
    Area ranges go by the area of the box.

    Args:
        score_thr: lowest score of the predictions that precision, recall and F1 are counted on, in [0, 1].
        iou_thr: lowest overlap of a hit for precision, recall and F1, in (0, 1].
        classwise: give the scalars of each class too (the table in the log always has them).
        max_dets: detections of one class that count for mAP and AR in one image (COCO: 100).
        intervals: draws of the bootstrap for intervals, 0 or more; 0: none are computed.
        outfile_prefix: write predictions and ground truth to ``<prefix>.bbox.json`` and
            ``<prefix>.gt.json`` in COCO's format; the category id is the label.

    Raises: ConfigError for values out of range; ValueError for samples without ``instances``.
    """

    default_prefix = 'coco'
    sample_keys = ('instances',)

    def __init__(self, score_thr: float = 0.5, *, iou_thr: float = 0.5, classwise: bool = True, max_dets: int = 100,
                 intervals: int = 0, outfile_prefix: str | None = None, collect_device: str = 'cpu',
                 prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        check_numbers(type(self).__name__, score_thr=(score_thr, '[0, 1]'), iou_thr=(iou_thr, '(0, 1]'),
                      max_dets=(max_dets, '[1, inf)'), intervals=(intervals, '[0, inf)'))
        self.intervals = intervals
        self.score_thr, self.iou_thr, self.classwise, self.max_dets = score_thr, iou_thr, classwise, max_dets
        self.outfile_prefix = outfile_prefix

    def process(self, data_batch: dict | None, data_samples: Sequence[dict]) -> None:
        """Keep predictions and ground truth of a batch; ValueError if a sample has no ``instances``."""
        for sample in data_samples:
            height, width = sample['ori_shape'][:2]
            prediction, target = compared_boxes(self, sample)
            target |= {'height': height, 'width': width, 'file_name': Path(sample.get('img_path') or '').name}
            self.results.append((sample.get('img_id'), prediction, target))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return the scalars named in the class's docstring; ``results`` are those of all processes."""
        image_ids, predictions, targets = zip(*results, strict=True) if results else ((), (), ())
        classes = list(self.dataset_meta['classes'])
        pairing = pair_boxes(predictions, targets, len(classes), lowest=self.iou_thr)
        counts = pairing.lesions(self.iou_thr).counts(self.score_thr)
        truth, boxes = coco_tables(predictions, targets, classes)
        table, recall = precision_and_recall(truth, boxes, max_dets=self.max_dets)
        if self.outfile_prefix is not None:
            self._dump(predictions, targets, classes, image_ids)

        selections = {'': np.s_[..., 0], '_50': np.s_[0, ..., 0], '_75': np.s_[5, ..., 0],
                      **{f'_{name}': np.s_[..., i] for i, name in enumerate(AREAS) if i}}
        metrics = {f'bbox_mAP{name}': mean_of_known(table[where]) for name, where in selections.items()}
        metrics[f'bbox_AR@{self.max_dets}'] = mean_of_known(recall[..., 0])
        micro, rates = precision_recall_f1(counts.total()), precision_recall_f1(counts)
        metrics.update(precision=float(micro.precision), recall=float(micro.recall), F1=float(micro.f1))
        average = [tuple(map(mean_of_known, (table[:, :, i, 0], table[0, :, i, 0], recall[:, i, 0])))
                   for i in range(len(classes))]
        if self.classwise:
            for i, name in enumerate(classes):
                metrics.update({f'AP_{name}': average[i][0], f'AP50_{name}': average[i][1],
                                f'AR_{name}': average[i][2], f'precision_{name}': float(rates.precision[i]),
                                f'recall_{name}': float(rates.recall[i]), f'F1_{name}': float(rates.f1[i])})
        if self.intervals:
            metrics |= self._intervals(classes, predictions, targets)
        self._log(classes, metrics, average, rates, predictions, targets)
        return metrics

    def _intervals(self, classes: list[str], predictions: Sequence[dict], targets: Sequence[dict]) -> dict[str, float]:
        pairing = pair_boxes(predictions, targets, len(classes), lowest=0.5, most=self.max_dets)
        found = detection_intervals(pairing, samples=self.intervals)
        ends: dict[str, float] = {}
        for key, mean, each in (('mAP', 'bbox_mAP', 'AP'), ('mAP_50', 'bbox_mAP_50', 'AP50'),
                                ('AR', f'bbox_AR@{self.max_dets}', 'AR')):
            names = [mean, *(f'{each}_{name}' for name in classes if self.classwise)]
            for name, (low, high) in zip(names, found[key].tolist()):
                ends |= {f'{name}_low': low, f'{name}_high': high}
        return ends

    def _dump(self, predictions: Sequence[dict], targets: Sequence[dict], classes: list[str],
              image_ids: Sequence) -> None:
        if None in image_ids or len(set(image_ids)) < len(image_ids):  # several data sets in one, or ids left out
            print_log('The ids of the images are not unique: the files number the images in the order of evaluation',
                      logger='current', level=logging.WARNING)
            image_ids = range(len(image_ids))
        truth, boxes = coco_tables(predictions, targets, classes, image_ids=image_ids)
        for content, kind in ((truth, 'gt'), (boxes, 'bbox')):
            write_atomic(f'{self.outfile_prefix}.{kind}.json', json.dumps(content))
        print_log(f'Predictions and ground truth of {len(truth["images"])} images are in '
                  f'{self.outfile_prefix}.bbox.json and {self.outfile_prefix}.gt.json', logger='current')

    def _log(self, classes: list[str], metrics: dict, average: list, rates: Rates, predictions: Sequence[dict],
             targets: Sequence[dict]) -> None:
        kept = [target['labels'][~target['ignore']] for target in targets]
        boxes = np.bincount(np.concatenate([np.zeros(0, np.int64), *kept]), minlength=len(classes))
        rows = [('class', 'boxes', 'AP', 'AP50', 'AR', 'precision', 'recall', 'F1'), *(
            (name, boxes[i], *average[i], *(rate[i] for rate in rates)) for i, name in enumerate(classes))]
        rows.append(('all (mean, micro)', boxes.sum(), metrics['bbox_mAP'], metrics['bbox_mAP_50'],
                     metrics[f'bbox_AR@{self.max_dets}'], metrics['precision'], metrics['recall'], metrics['F1']))
        table = '\n'.join(text_table(rows))
        print_log(f'{len(targets)} images, {sum(len(p["scores"]) for p in predictions)} predictions; precision, recall '
                  f'and F1 at score >= {self.score_thr:g}, IoU >= {self.iou_thr:g}\n{table}', logger='current')
        if text := absent_text(classes, boxes, 'ground truth'):
            print_log(text, logger='current')
        crowded = sum(bool(len(p['labels'])) and np.bincount(p['labels']).max() > self.max_dets for p in predictions)
        if crowded:
            print_log(f'{crowded} images have more than max_dets={self.max_dets} detections of one class; those of '
                      'lowest score do not count for the mAP', logger='current', level=logging.WARNING)
