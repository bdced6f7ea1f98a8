"""One page on a trained model: data, training, scores with intervals, curves, errors, pictures, and what to do."""
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from cxrdet.analysis import report_facts as facts
from cxrdet.analysis.diagnose import diagnosis_of
from cxrdet.analysis.report_pictures import BOX_KINDS, LABEL_KINDS, detection_pictures, label_pictures
from cxrdet.core.classification.labels import are_findings
from cxrdet.core.classification.roc import AurocInterval, auroc_interval
from cxrdet.core.detection.average_precision import IOUS
from cxrdet.core.detection.matching import LesionTable
from cxrdet.core.errors import ConfigError
from cxrdet.core.files import write_atomic
from cxrdet.core.folders import OutputFolder
from cxrdet.core.main_scores import detection_scores, multi_label_scores, single_label_scores
from cxrdet.inference.split_predictions import SPLITS, Collected, LoadedModel, collect, load_judged, of_split
from cxrdet.visualization.panel_pictures import draw_panels
from cxrdet.visualization.panels import (
    Panel,
    calibration_panel,
    detection_pr_panels,
    froc_panels,
    pr_panels,
    roc_panels,
)
from cxrdet.visualization.report import Content, render_page

__all__ = ['content_of', 'report']

_MOST_PANELS = 24
CURVES = ('Precision and recall of boxes at IoU 0.5', 'FROC at IoU 0.5', 'ROC', 'Precision and recall', 'Calibration')


def report(config: Config | str | Path, checkpoint: str | Path, *, out: str | Path, split: str = 'val',
           train_images: int = 200, score_thr: float | None = None, history: str | Path | None = None,
           pictures: int = 60, cam: bool | None = None, samples: int = 200, curves: str | Path | None = None,
           command: str | None = None, seed: int = 0, device: str = 'auto', workers: int = 2, trust: bool = False,
           progress: Callable[[str, int, int], None] | None = None) -> Path:
    """Judge a trained detector or classifier and write the report, one HTML file that needs no other and no network.

    Args:
        config: a file, or what :func:`cxrdet.apis.load_config` gave.
        checkpoint: a file written by training.
        out: the ``.html`` file.
        split: ``val`` or ``test``: the images that are judged.
        train_images: training images to compare with, drawn with ``seed``; 0: none.
        score_thr: detectors: lowest score of a box that is counted and drawn. None: that of the best F1.
        history: work folder or ``history.json`` of the training; by default it is looked for beside the checkpoint and
            in the work folder of the config.
        pictures: at most so many in the gallery.
        cam: classifiers: Grad-CAM overlays; None: where they can be drawn.
        samples: draws of the bootstrap.
        curves: also write the curves as ``.png`` files into this folder; those of an earlier report in it are replaced.
        command: that made the report, as it stands on the page.
        seed, device, workers, trust, progress: as for :func:`cxrdet.analysis.diagnose.diagnose`.

    Returns: ``out``.
    Raises: ConfigError, DataError, CheckpointError with what was found wrong.
    """
    _check(out, split, train_images, score_thr, pictures, samples)
    drawn = None if curves is None else OutputFolder(curves, 'report', names=map(_curve_file, CURVES))
    loaded = load_judged(config, checkpoint, split=split, train_images=train_images, score_thr=score_thr,
                         device=device, trust=trust)
    training = facts.training_panels(loaded, history)  # before the long work: --history may name no file
    shapes: list[tuple[int, ...]] = []
    watch = getattr(loaded.model, 'backbone', loaded.model).register_forward_pre_hook(
        lambda _, inputs: shapes.append(tuple(inputs[0].shape)) if inputs and hasattr(inputs[0], 'shape') else None)
    try:
        judged = collect(loaded, split, seed=seed, workers=workers, progress=of_split(progress, split))
    finally:
        watch.remove()
    train = collect(loaded, 'train', images=train_images, seed=seed, workers=workers,
                    progress=of_split(progress, 'train')) if train_images else None
    content = content_of(loaded, judged, train, score_thr=score_thr, pictures=pictures, cam=cam, samples=samples,
                         seed=seed)
    content.training, content.training_note = training
    content.model = facts.model_facts(loaded, shapes)
    content.command = command or shlex.join(
        ['python', 'tools/report.py', str(loaded.cfg.filename), str(checkpoint), '--out', str(out)])
    write_atomic(out, render_page(content))
    if drawn is not None:
        with drawn as folder:
            _write_curves(folder, content)
    return Path(out)


def content_of(loaded: LoadedModel, judged: Collected, train: Collected | None = None, *,
               score_thr: float | None = None, pictures: int = 60, cam: bool | None = None, samples: int = 200,
               seed: int = 0) -> Content:
    """What the report tells, from predictions that were collected before; arguments as for :func:`report`."""
    if not judged.records:
        raise ConfigError(f'The {judged.split} set has no image to judge.')
    diagnosis = diagnosis_of(loaded, judged, train, score_thr=score_thr)
    groups, unit = facts.groups_of(judged)
    content_note = f'Bands are pointwise 95 % intervals of the same bootstrap of whole {unit}s.'
    name = Path(str(loaded.cfg.filename or loaded.checkpoint)).stem
    content = Content(title=f'Report of {name}', diagnosis=diagnosis, rows=diagnosis['per_class'],
                      curves_note=content_note, about=(
        f'A {loaded.task} model of {len(loaded.classes)} classes, judged on {len(judged.records)} '
        f'{facts.SPLIT_NAMES[judged.split]} images.'))
    if loaded.task == 'detection':
        _add_detection(content, judged, groups, samples, seed, pictures)
    else:
        _add_classification(content, loaded, judged, groups, samples, seed, pictures, cam)
    content.scores_note += (
        f' In brackets: 95 % intervals, percentiles of {samples} bootstrap draws of whole {unit}s.'
        + (' No patients are known: images of one patient would make them too narrow.' if unit == 'image' else '')
        + (' The checkpoint was chosen on these images, so the scores are a little too good: --split test judges on '
           'others, if the config has them.' if judged.split == 'val' else ''))
    content.data = facts.data_facts(loaded, judged, train)
    content.model = facts.model_facts(loaded)
    content.reproduce = facts.reproduce_facts(loaded, judged, seed=seed, samples=samples)
    return content


def _check(out, split: str, train_images: int, score_thr: float | None, pictures: int, samples: int) -> None:
    if Path(out).suffix.lower() not in ('.html', '.htm'):
        raise ConfigError(f'--out {out}: the report is an HTML file; expected a name that ends in .html')
    if split not in SPLITS[1:]:
        raise ConfigError(f'split must be one of {", ".join(SPLITS[1:])}, got "{split}"')
    if train_images < 0 or pictures < 0 or samples < 1 or (score_thr is not None and not 0 <= score_thr <= 1):
        raise ConfigError('expected train_images and pictures of 0 or more, samples of 1 or more and score_thr in '
                          f'[0, 1], got {train_images}, {pictures}, {samples} and {score_thr}')


def _add_detection(content: Content, judged: Collected, groups, samples: int, seed: int, pictures: int) -> None:
    classes, score_thr = judged.classes, content.diagnosis['score_thr']
    content.scores, by_class = detection_scores(judged.pairing, score_thr=score_thr, groups=groups, samples=samples,
                                                seed=seed)
    content.rows = [row | extra for row, extra in zip(content.rows, by_class, strict=True)]
    table = judged.pairing.lesions()
    content.scores_note = (f'mAP is COCO\'s, the mean over IoU {IOUS[0]} to {IOUS[-1]}; FROC is the mean sensitivity '
                           'at 1/8 to 8 false positives an image, at IoU 0.5. Precision, recall and F1 are over all '
                           f'boxes with a score of {score_thr:.2f} or more.')
    shown, parts = _most_common(classes, table.lesions.sum(axis=0)), table
    if len(shown) < len(classes):
        parts = _part_of(table, shown)
        content.scores_note += f' Curves are drawn of the {len(shown)} most frequent classes.'
    names = [classes[i] for i in shown]
    content.curves = {CURVES[0]: detection_pr_panels(parts, names, groups=groups, samples=samples),
                      CURVES[1]: froc_panels(parts, names, groups=groups, samples=samples)}
    owners = np.arange(len(judged.records)) if groups is None else groups
    content.calibration = [_box_calibration(table, label, owners, samples, title) for label, title in
                           [(None, 'all classes'), *zip(shown, names, strict=True)]]
    content.pictures = detection_pictures(judged, score_thr=score_thr, most=pictures)
    content.kinds = BOX_KINDS
    content.pictures_note = _picture_note(len(content.pictures), 'errors') + (
        f' Boxes with a score of {score_thr:.2f} or more; names stand at errors only.')


def _add_classification(content: Content, loaded: LoadedModel, judged: Collected, groups, samples: int, seed: int,
                        pictures: int, cam: bool | None) -> None:
    true, prob, classes, thresholds = judged.matrix('truth'), judged.matrix('probabilities'), judged.classes, None
    diagnosis = content.diagnosis
    if loaded.task == 'multi-label':
        thresholds = np.array([row['threshold'] for row in content.rows], np.float64)
        use = [name in diagnosis['fit']['over'] for name in classes]
        content.scores = multi_label_scores(true, prob, thresholds, use, findings=are_findings(classes),
                                            groups=groups, samples=samples, seed=seed)
        low, high = (np.array([row[end] for row in content.rows], np.float64) for end in ('low', 'high'))
        interval = AurocInterval(low, high, **diagnosis['interval'])
        content.scores_note = (f'Means over {sum(use)} of {len(classes)} classes, those with enough images to judge '
                               f'({", ".join(diagnosis["fit"]["over"])}). Decisions by '
                               f'{diagnosis["operating_point"]}.')
    else:
        content.scores = single_label_scores(true, prob, groups=groups, samples=samples, seed=seed)
        content.scores_note = 'Means are over classes; AUROC is of each class against all others.'
        interval = auroc_interval(true, prob, groups=groups)
    content.curves_note += f' The interval behind the AUROC of a class is {interval.about}.'
    content.scores_note += f' The interval of a single class is {interval.about}.'
    shown = _most_common(classes, np.nansum(true == 1, axis=0))
    names = [classes[i] for i in shown]
    if len(shown) < len(classes):
        content.scores_note += f' Curves are drawn of the {len(shown)} most frequent classes.'
    own = true[:, shown], prob[:, shown]
    content.curves = {CURVES[2]: roc_panels(
        *own, names, groups=groups, samples=samples,
        interval=interval._replace(low=interval.low[shown], high=interval.high[shown])),
                      CURVES[3]: pr_panels(*own, names, groups=groups, samples=samples)}
    content.calibration = _label_calibration(loaded.task, true, prob, shown, names, groups, samples)
    content.pictures, note = label_pictures(loaded, judged, thresholds, most=pictures, cam=cam)
    content.kinds = LABEL_KINDS
    content.pictures_note = _picture_note(len(content.pictures), 'wrong decisions') + note


def _label_calibration(task: str, true: np.ndarray, prob: np.ndarray, shown: Sequence[int], names: Sequence[str],
                       groups, samples: int) -> list[Panel]:
    owners = np.arange(len(true)) if groups is None else groups
    if task == 'multi-label':
        panels = [calibration_panel(true.reshape(-1), prob.reshape(-1), 'all labels', samples=samples,
                                    groups=np.repeat(owners, true.shape[1]))]
    else:
        best = prob.argmax(axis=1)
        right = (best == true.argmax(axis=1)).astype(np.float64)
        panels = [calibration_panel(right, prob.max(axis=1), 'most probable class', groups=groups, samples=samples)]
    return panels + [calibration_panel(true[:, i], prob[:, i], name, groups=groups, samples=samples)
                     for i, name in zip(shown, names, strict=True)]


def _box_calibration(table: LesionTable, label: int | None, owners: np.ndarray, samples: int, title: str) -> Panel:
    mine = slice(None) if label is None else table.labels == label
    return calibration_panel(table.hits[mine].astype(np.float64), table.scores[mine], title,
                             groups=owners[table.image[mine]], samples=samples)


def _most_common(classes: Sequence[str], counts: np.ndarray) -> list[int]:
    """Numbers of the classes that get panels, in their order."""
    return sorted(np.argsort(-counts, kind='stable')[:_MOST_PANELS].tolist()) if len(classes) else []


def _part_of(table: LesionTable, shown: Sequence[int]) -> LesionTable:
    """The table of some classes, numbered anew."""
    keep = np.isin(table.labels, shown)
    return LesionTable(table.scores[keep], table.hits[keep], np.searchsorted(shown, table.labels[keep]),
                       table.image[keep], table.lesions[:, shown])


def _picture_note(number: int, what: str) -> str:
    return (f'{number} images with {what}: first the worst, then such as show every kind of error of every class. A '
            'click or the Enter key enlarges one.')


def _write_curves(folder: Path, content: Content) -> None:
    groups: dict[str, Any] = dict(content.curves) | {CURVES[4]: content.calibration}
    for title, panels in groups.items():
        if panels:
            draw_panels(folder / _curve_file(title), panels)


def _curve_file(title: str) -> str:
    return f'{title.lower().replace(" ", "_").replace(".", "")}.png'
