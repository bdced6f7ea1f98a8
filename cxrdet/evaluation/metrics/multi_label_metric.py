import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from cxrdet.core.bootstrap import percentile_interval
from cxrdet.core.classification import operating_points as op
from cxrdet.core.classification.calibration import BINS, calibration_error, scale
from cxrdet.core.classification.labels import are_findings
from cxrdet.core.classification.multilabel import average_precision, confusion, pooled, rates
from cxrdet.core.classification.roc import DRAWS, AurocInterval, auroc, auroc_interval, bootstrap_areas, group_numbers
from cxrdet.core.diagnosis import plain
from cxrdet.core.errors import check_numbers
from cxrdet.core.files import write_atomic
from cxrdet.core.rates import mean_of_known
from cxrdet.evaluation.metrics.log_tables import class_table, point_table
from cxrdet.registry import METRICS
from cxrdet.visualization.panels import pr_panels, roc_panels


@METRICS.register_module()
class MultiLabelMetric(BaseMetric):
    """What multi-label classifiers are judged by; unknown labels (NaN) are left out.

    Predictions are ``pred_score`` (C,) in [0, 1]; the ground truth is ``gt_score`` (C,)
    with 1, 0 or NaN, or else the list ``gt_label`` of present classes. Films of one
    patient are resampled together where the samples carry a ``patient_id`` among their
    meta data (``meta_keys`` of PackInputs).

    Scalars (with the prefix ``multi-label/``):

    - ``AUROC_mean``, ``AUROC_<class>``, each with the ends ``_low`` and ``_high`` of
      its 95 % interval: for the mean a bootstrap by patient, for a class
      :func:`cxrdet.core.classification.roc.auroc_interval`; ``AUROC_micro`` over all
      entries. Where "No Finding" is a class, ``AUROC_mean_findings`` is the mean over
      the others, which the literature gives.
    - ``AP_mean``, ``AP_micro``, ``AP_<class>``.
    - ``accuracy``, ``precision``, ``recall``, ``specificity``, ``F1``, ``hamming``
      (loss) at each operating point, e.g. ``F1_macro@0.5``, ``F1_micro@youden``; with
      ``classwise`` also ``F1_<class>@youden``.
    - ``ECE`` over all entries, ``ECE_mean``, ``ECE_<class>``; ``temperature``, and with it ``ECE_scaled``.
    - ``undefined_classes``, without positives or negatives; ``left_out_classes``, these
      and those with fewer than ``min_positives``. Means (``_mean``, ``_macro``) are
      over the others for which the rate is defined.

    Thresholds that a rule chooses are chosen on the data at hand: this belongs to
    validation. For a test set :meth:`use_operating_points` hands over those of a
    checkpoint (``cxrdet test`` does it), and none is chosen.

    Args:
        operating_points: by name, a threshold, one for each class, or a rule. None:
            ``DEFAULT_POINTS`` of :mod:`cxrdet.core.classification.operating_points`.
        min_positives: 1 or more; classes with fewer stay out of the means; small validation sets need about 10.
        resamples: draws of the bootstrap; 0 leaves the intervals of the mean out, and those of classes are DeLong's.
        classwise: give the rates of each class at each operating point as scalars, too.
        bins: of the calibration error.
        out_dir: write ``metrics.json`` (with all rates of all classes), ``roc.png`` and ``pr.png`` into this folder.

    Raises: ConfigError for numbers out of range; ValueError for a threshold out of [0, 1], an unknown rule, or samples
        without predictions or ground truth.
    """

    default_prefix = 'multi-label'

    def __init__(self, operating_points: Mapping | None = None, *, min_positives: int = 1, resamples: int = DRAWS,
                 classwise: bool = False, bins: int = BINS, out_dir: str | None = None,
                 collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        check_numbers('MultiLabelMetric', min_positives=(min_positives, '[1, inf)'), resamples=(resamples, '[0, inf)'),
                      bins=(bins, '[1, inf)'))
        self.points = op.check_points(op.DEFAULT_POINTS if operating_points is None else operating_points)
        self.min_positives, self.resamples = min_positives, resamples
        self.classwise, self.bins, self.out_dir = classwise, bins, out_dir
        self.chosen: op.OperatingPoints | None = None  # on the last data that was judged; in the main process
        self._stored: tuple[dict | None, str] | None = None

    def use_operating_points(self, content: dict | None, source: str) -> None:
        """From now on take thresholds and temperature from ``content``
        (``meta.operating_points`` of the checkpoint ``source``), and choose none. With
        None, points that need choosing are left out.
        """
        self._stored = content, source

    def process(self, data_batch: dict | None, data_samples: Sequence[dict]) -> None:
        """Keep scores, labels and patient of a batch; ValueError where one of the former is missing."""
        for sample in data_samples:
            if sample.get('pred_score') is None:
                raise ValueError(f'{type(self).__name__} needs pred_score, the probability of each class, but the '
                                 f'samples have only: {", ".join(map(str, sample))}')
            score = sample['pred_score'].detach().cpu().double().numpy()
            if sample.get('gt_score') is not None:
                label = sample['gt_score'].detach().cpu().double().numpy()
            elif sample.get('gt_label') is not None:
                label = np.zeros(len(score))
                label[sample['gt_label'].cpu().numpy()] = 1
            else:
                raise ValueError(f'{type(self).__name__} needs the ground truth of each image, but the samples have '
                                 'neither gt_score nor gt_label: the pipeline has to end with PackInputs')
            patient = sample.get('patient_id')
            self.results.append((score, label, patient, sample.get('img_path')))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return the scalars named in the class's docstring; ``results`` are those of all processes."""
        classes = [str(name) for name in self.dataset_meta['classes']]
        score, true = (np.array([entry[i] for entry in results]).reshape(len(results), -1) if results
                       else np.zeros((0, len(classes))) for i in (0, 1))
        if score.shape != true.shape or score.shape[1] != len(classes):
            raise ValueError(f'expected {len(classes)} scores and labels an image, one a class ({", ".join(classes)}), '
                             f'got {score.shape[1]} and {true.shape[1]}')
        points, temperature = self._points(true, score, classes)
        positives, negatives = ((true == value).sum(axis=0) for value in (1, 0))
        use = (positives >= self.min_positives) & (negatives > 0)
        findings = are_findings(classes)
        means = {'AUROC_mean': use} | ({} if findings is None else {'AUROC_mean_findings': use & findings})
        groups, patients = group_numbers(*([entry[i] for entry in results] for i in (2, 3)))
        areas = self._areas(true, score, means, groups, patients)
        interval = areas['interval']
        values = {'AUROC': areas['AUROC'], 'AP': average_precision(true, score),
                  'ECE': calibration_error(true, score, bins=self.bins)}
        at = {name: rates(confusion(true, score, bounds)) for name, bounds in points.items()}

        metrics = {f'{name}{end}': areas[f'{name}{end}'] for name in means for end in ('', '_low', '_high')}
        metrics.update(AUROC_micro=auroc(*pooled(true, score))[0], AP_mean=mean_of_known(values['AP'], use),
                       AP_micro=average_precision(*pooled(true, score))[0])
        metrics.update(ECE=calibration_error(*pooled(true, score), bins=self.bins)[0],
                       ECE_mean=mean_of_known(values['ECE'], use))
        if temperature is not None:
            scaled = calibration_error(*pooled(true, scale(score, temperature)), bins=self.bins)[0]
            metrics.update(ECE_scaled=scaled, temperature=temperature)
        for name, bounds in points.items():
            micro = rates(confusion(true, score, bounds).total())
            for rate in micro._fields:
                metrics[f'{_shown(rate)}_macro@{name}'] = mean_of_known(getattr(at[name], rate), use)
                metrics[f'{_shown(rate)}_micro@{name}'] = getattr(micro, rate)[0]
        for i, name in enumerate(classes):
            metrics.update({f'AUROC_{name}': areas['AUROC'][i], f'AUROC_{name}_low': interval.low[i],
                            f'AUROC_{name}_high': interval.high[i], f'AP_{name}': values['AP'][i],
                            f'ECE_{name}': values['ECE'][i]})
        by_class = {f'{_shown(rate)}_{name}@{point}': getattr(table, rate)[i] for point, table in at.items()
                    for i, name in enumerate(classes) for rate in table._fields}
        metrics.update(by_class if self.classwise else {})
        metrics.update(undefined_classes=int(((positives == 0) | (negatives == 0)).sum()),
                       left_out_classes=int((~use).sum()))
        metrics = {key: value if isinstance(value, int) else float(value) for key, value in metrics.items()}
        self._log(classes, true, metrics, areas, values, points, at, use)
        if self.out_dir is not None:
            self._write(classes, true, score, groups, interval, metrics | by_class, points)
        return metrics

    def _points(self, true: np.ndarray, score: np.ndarray, classes: list[str]) -> tuple[dict, float | None]:
        if self._stored is None:
            self.chosen = op.choose_points(self.points, true, score, classes)
            return self.chosen.thresholds, self.chosen.temperature
        content, source = self._stored
        stored = None if content is None else op.read_points(content, classes, source)
        points, left_out = {}, []
        for name, point in self.points.items():
            if not op.is_rule(point):
                points[name] = op.given_thresholds(name, point, len(classes))
            elif stored is not None and stored.rules.get(name) == op.written(point):
                points[name] = stored.thresholds[name]
            else:
                left_out.append(name)
        used = [name for name in points if op.is_rule(self.points[name])]
        text = [f'Thresholds of {", ".join(used)} and the temperature are those stored in {source}, chosen on '
                f'{stored.images} validation images; none is chosen on this data'] if stored is not None else []
        text += [f'{source} holds no thresholds for {", ".join(left_out)}: left out, for they are not chosen on test '
                 'data (training with cxrdet.OperatingPointHook stores them in best_*.pth)'] if left_out else []
        print_log('\n'.join(text), logger='current')
        return points, None if stored is None else stored.temperature

    def _areas(self, true: np.ndarray, score: np.ndarray, means: Mapping[str, np.ndarray], groups: np.ndarray,
               patients: bool) -> dict:
        found = {'AUROC': auroc(true, score)}
        draws = bootstrap_areas(true, score, groups=groups, samples=self.resamples) \
            if self.resamples else np.zeros((0, true.shape[1]))
        for name, classes in means.items():
            found[name] = mean_of_known(found['AUROC'], classes)
            found[f'{name}_low'], found[f'{name}_high'] = percentile_interval(
                np.array([mean_of_known(draw, classes) for draw in draws]))
        found['interval'] = auroc_interval(true, score, groups=groups if patients else None, draws=draws,
                                           samples=self.resamples)
        return found

    def _log(self, classes: list[str], true: np.ndarray, metrics: dict, areas: dict, values: dict, points: dict,
             at: dict, use: np.ndarray) -> None:
        shown = next((name for name in points if op.is_rule(self.points[name])), next(iter(points), None))
        text = [f'{len(true)} images; the interval of a class is {areas["interval"].about}',
                class_table(classes, true, areas, values, metrics, shown, points.get(shown), at.get(shown)),
                point_table(metrics, points, at, use)]
        undefined = [name for i, name in enumerate(classes) if np.isnan(areas['AUROC'][i])]
        few = [name for i, name in enumerate(classes) if not use[i] and name not in undefined]
        text += [f'{len(undefined)} of {len(classes)} classes lack positives or negatives here; their AUROC is NaN and '
                 f'they are left out of the means: {", ".join(undefined)}'] if undefined else []
        text += [f'{len(few)} of {len(classes)} classes have fewer than {self.min_positives} positives and are left '
                 f'out of the means: {", ".join(few)}'] if few else []
        print_log('\n'.join(filter(None, text)), logger='current')

    def _write(self, classes: list[str], true: np.ndarray, score: np.ndarray, groups: np.ndarray,
               interval: AurocInterval, metrics: dict, points: dict) -> None:
        from cxrdet.visualization.plots import write_panels  # matplotlib is slow to import
        folder = Path(self.out_dir)
        content = {'images': len(true), 'classes': classes, 'interval': interval.about, 'metrics': plain(metrics),
                   'thresholds': {name: plain(dict(zip(classes, bounds))) for name, bounds in points.items()}}
        write_atomic(folder / 'metrics.json', json.dumps(content, indent=1, ensure_ascii=False))
        samples = min(self.resamples, 200)
        write_panels(folder / 'roc.png', roc_panels(true, score, classes, groups=groups, samples=samples,
                                                   interval=interval))
        write_panels(folder / 'pr.png', pr_panels(true, score, classes, groups=groups, samples=samples))
        print_log(f'Metrics, ROC and precision-recall curves are in {folder}', logger='current')


def _shown(rate: str) -> str:
    return 'F1' if rate == 'f1' else rate
