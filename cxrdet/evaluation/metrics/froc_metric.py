from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from cxrdet.core.detection.average_precision import precisions_by_overlap
from cxrdet.core.detection.froc import RATES, froc, froc_interval, image_auroc, lesion_auroc
from cxrdet.core.detection.matching import pair_boxes
from cxrdet.core.errors import check_numbers
from cxrdet.core.rates import mean_of_known
from cxrdet.evaluation.metrics.detection_metric import compared_boxes
from cxrdet.registry import METRICS


@METRICS.register_module()
class FROCMetric(BaseMetric):
    """Free-response ROC with intervals, as lesion detectors are judged; ground truth as
    for :class:`cxrdet.DetectionMetric`.

    Scalars (with the prefix ``froc/``): ``sensitivity_0.125`` … ``sensitivity_8`` (at
    that many false positives an image, lesions and detections of all classes
    together) and their ``mean``, with ``mean_low`` and ``mean_high``;
    ``lesion_AUROC``, ``image_AUROC``; ``AP10`` … ``AP50``, mean over classes at IoU
    0.1 … 0.5; with ``classwise`` also ``mean_<class>``. See
    :mod:`cxrdet.core.detection.froc`. What has no lesions is NaN.

    Args:
        iou_thr: Lowest overlap of a hit, in (0, 1]. 0.5 as for DeepLesion (Yan et al., 2018);
            where a lesion has no clear border, 0.1 to 0.3 are usual.
        rates: False positives an image, above 0.
        group_key: Key of the samples, one of the ``meta_keys``, that names the patient, for intervals over patients.
        level: Of the intervals, in (0, 1).
        samples: Draws of the bootstrap; 0 leaves the intervals out.
        classwise: Give the mean sensitivity of each class too.

    Raises: ConfigError for values out of range; ValueError for samples without ``instances`` or ``group_key``.
    """

    default_prefix = 'froc'
    sample_keys = ('instances',)

    def __init__(self, iou_thr: float = 0.5, *, rates: Sequence[float] = RATES, group_key: str | None = None,
                 level: float = 0.95, samples: int = 1000, classwise: bool = True, collect_device: str = 'cpu',
                 prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        check_numbers('FROCMetric', iou_thr=(iou_thr, '(0, 1]'), level=(level, '(0, 1)'), samples=(samples, '[0, inf)'),
                      least_rate=(min(rates, default=0), '(0, inf)'))
        self.iou_thr, self.rates, self.group_key = iou_thr, tuple(rates), group_key
        self.level, self.samples, self.classwise = level, samples, classwise

    def process(self, data_batch: dict | None, data_samples: Sequence[dict]) -> None:
        """Keep predictions and ground truth of a batch; ValueError if ``instances`` or ``group_key`` is missing."""
        for sample in data_samples:
            prediction, target = compared_boxes(self, sample, *([self.group_key] if self.group_key else []))
            self.results.append((sample[self.group_key] if self.group_key else None, prediction, target))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return the scalars named in the class's docstring; ``results`` are those of all processes."""
        groups, predictions, targets = zip(*results, strict=True) if results else ((), (), ())
        classes = list(self.dataset_meta['classes'])
        pairing = pair_boxes(predictions, targets, len(classes), lowest=min(0.1, self.iou_thr))
        table = pairing.lesions(self.iou_thr)
        images, lesions = max(len(results), 1), table.lesions.sum(axis=1)
        whole = froc(table.scores, table.hits, images, lesions.sum(), rates=self.rates)
        metrics = {f'sensitivity_{rate:g}': float(value) for rate, value in zip(self.rates, whole.sensitivity)}
        metrics['mean'] = whole.mean
        if self.samples:
            groups = np.array([str(group) for group in groups]) if self.group_key else None
            interval = froc_interval(table.scores, table.hits, table.image, lesions, groups=groups, rates=self.rates,
                                     level=self.level, samples=self.samples)
            metrics |= {'mean_low': interval.mean_low, 'mean_high': interval.mean_high}
        metrics['lesion_AUROC'] = lesion_auroc(table.scores, table.hits, lesions.sum())
        metrics['image_AUROC'] = image_auroc(table.scores, table.image, lesions)
        percents = (10, 20, 30, 40, 50)
        for percent, values in zip(percents, precisions_by_overlap(pairing, np.array(percents) / 100)):
            metrics[f'AP{percent}'] = mean_of_known(values)
        per_class = [froc(table.scores[table.labels == k], table.hits[table.labels == k], images,
                          table.lesions[:, k].sum(), rates=self.rates).mean for k in range(len(classes))]
        if self.classwise:
            metrics |= {f'mean_{name}': value for name, value in zip(classes, per_class)}
        self._log(classes, per_class, metrics, table)
        return metrics

    def _log(self, classes: list[str], per_class: list[float], metrics: dict, table) -> None:
        interval = f' [{metrics["mean_low"]:.4f}, {metrics["mean_high"]:.4f}]' if self.samples else ''
        lines = [f'FROC at IoU >= {self.iou_thr:g}: {len(table.lesions)} images, {table.lesions.sum()} lesions, '
                 f'{len(table.scores)} detections; mean sensitivity {metrics["mean"]:.4f}{interval}',
                 '  '.join(f'{rate:g} FP: {metrics[f"sensitivity_{rate:g}"]:.4f}' for rate in self.rates)]
        lines += [f'{name}: {value:.4f} ({table.lesions[:, k].sum()} lesions)'
                  for k, (name, value) in enumerate(zip(classes, per_class))]
        print_log('\n'.join(lines), logger='current')
