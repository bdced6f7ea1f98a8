import logging
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmengine.visualization import Visualizer

from cxrdet.core.classification.confusion import ClassReport, class_report, confusion_matrix, frequent_confusions
from cxrdet.core.classification.roc import group_numbers
from cxrdet.core.diagnosis import listed
from cxrdet.core.files import write_atomic
from cxrdet.core.rates import mean_of_known
from cxrdet.evaluation.metrics.log_tables import absent_text, text_table
from cxrdet.registry import METRICS
from cxrdet.visualization.confusion import draw_confusion
from cxrdet.visualization.panels import roc_panels

_LOCAL = 'LocalVisBackend'  # its folder is taken before those of others


@METRICS.register_module()
class ConfusionMatrixMetric(BaseMetric):
    """Accuracy, balanced accuracy, macro F1, precision, recall and F1 of each class, and the confusion matrix.

    Scalars (with the prefix ``accuracy/``): ``top1`` (as MMPretrain's Accuracy names
    it, but in [0, 1], not per cent), ``balanced`` (mean recall), ``macro_F1`` and, with
    ``classwise``, ``precision_<class>``, ``recall_<class>``, ``F1_<class>``. What is
    not defined (:class:`cxrdet.core.classification.confusion.ClassReport`) is NaN and
    named in the log. After each evaluation ``matrix`` holds the counts, (C, C) int64,
    true classes in the rows (on the main process).

    Args:
        classwise: give the scalars of each class too (the table in the log always has them).
        picture: draw the matrix. ``True``: into ``vis_data/confusion_matrix.png`` of
            the run, replaced at each evaluation (left out, with a warning, if the
            visualizer writes no files); a path: into this file; ``False``: not at all.
        out_dir: write ``roc.png``, the ROC curve of each class against all others, into
            this folder. Images of one ``patient_id`` or ``group`` (``meta_keys`` of
            PackInputs) are resampled together.

    Raises: ValueError if a sample has no ``gt_label``, or more than one class.
    """

    default_prefix = 'accuracy'

    def __init__(self, classwise: bool = True, *, picture: bool | str = True, out_dir: str | None = None,
                 collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.classwise, self.picture, self.out_dir = classwise, picture, out_dir
        self.matrix: np.ndarray | None = None

    def process(self, data_batch: dict | None, data_samples: Sequence[dict]) -> None:
        """Keep true and predicted class of each sample; ValueError without ``gt_label``, or for more than one class."""
        for sample in data_samples:
            if 'gt_label' not in sample:
                raise ValueError(f'{type(self).__name__} needs the true class of each image, but the samples have no '
                                 '"gt_label"')
            pair = [sample[key].reshape(-1).tolist() for key in ('gt_label', 'pred_label')]
            if any(len(labels) != 1 for labels in pair):
                raise ValueError(f'{type(self).__name__} is for one class per image, got the labels {pair[0]} and the '
                                 f'prediction {pair[1]}')
            score = sample.get('pred_score') if self.out_dir is not None else None
            self.results.append((pair[0][0], pair[1][0], None if score is None else score.detach().cpu().tolist(),
                                 sample.get('patient_id', sample.get('group')), sample.get('img_path')))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return the scalars named in the class's docstring; ``results`` are those of all processes."""
        classes = list(self.dataset_meta['classes'])
        pairs = np.array([entry[:2] for entry in results], np.int64).reshape(-1, 2)
        self.matrix = confusion_matrix(pairs[:, 0], pairs[:, 1], len(classes))
        report = class_report(self.matrix)
        metrics = {'top1': report.accuracy, 'balanced': report.balanced_accuracy, 'macro_F1': report.macro_f1}
        if self.classwise:
            for i, name in enumerate(classes):
                metrics.update({f'precision_{name}': float(report.precision[i]),
                                f'recall_{name}': float(report.recall[i]), f'F1_{name}': float(report.f1[i])})
        self._log(classes, report)
        self._draw(classes, report)
        if self.out_dir is not None and results and all(entry[2] is not None for entry in results):
            from cxrdet.visualization.plots import write_panels  # matplotlib is slow to import
            path = Path(self.out_dir, 'roc.png')
            groups, known = group_numbers(*([entry[i] for entry in results] for i in (3, 4)))
            write_panels(path, roc_panels(np.eye(len(classes))[pairs[:, 0]], np.array([entry[2] for entry in results]),
                                         classes, groups=groups if known else None))
            print_log(f'ROC curves are in {path}', logger='current')
        return metrics

    def _log(self, classes: list[str], report: ClassReport) -> None:
        rows = [('class', 'images', 'precision', 'recall', 'F1'), *zip(
            classes, report.support, report.precision, report.recall, report.f1)]
        rows.append(('all (means)', report.support.sum(), mean_of_known(report.precision), report.balanced_accuracy,
                     report.macro_f1))
        confusions = '; '.join(f'{row["true"]} taken for {row["predicted"]}: {row["count"]}'
                               for row in frequent_confusions(self.matrix, classes, most=3))
        table = '\n'.join(text_table(rows))
        print_log(f'{report.support.sum()} images, accuracy {report.accuracy:.4f}, balanced '
                  f'{report.balanced_accuracy:.4f}; most frequent errors: {confusions or "none"}\n{table}',
                  logger='current')
        if text := absent_text(classes, report.support, 'image'):
            print_log(text, logger='current', level=logging.WARNING)
        idle = [name for i, name in enumerate(classes) if report.support[i] and np.isnan(report.precision[i])]
        if idle:
            print_log(f'{len(idle)} of {len(classes)} classes were never predicted; their precision is NaN: '
                      f'{listed(idle, 20)}', logger='current')

    def _draw(self, classes: list[str], report: ClassReport) -> None:
        path = self._picture_path()
        if path is None:
            return
        picture = draw_confusion(self.matrix, classes, title=f'{report.support.sum()} images, accuracy '
                                 f'{report.accuracy:.3f}, balanced {report.balanced_accuracy:.3f}')
        write_atomic(path, cv2.imencode('.png', picture[..., ::-1])[1].tobytes())

    def _picture_path(self) -> Path | None:
        if not isinstance(self.picture, bool):
            return Path(self.picture)
        if not self.picture or not Visualizer._instance_dict:
            return None
        backends = Visualizer.get_current_instance()._vis_backends
        folders = [backend._save_dir for _, backend in sorted(backends.items(), key=lambda item: item[0] != _LOCAL)
                   if getattr(backend, '_save_dir', None)]
        if folders:
            return Path(folders[0], 'confusion_matrix.png')
        print_log('The visualizer has no backend that writes files, so the confusion matrix is not drawn; name a file: '
                  'picture="confusion.png".', logger='current', level=logging.WARNING)
        return None
