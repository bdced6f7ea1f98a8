"""What stands in the panels of curves; :mod:`cxrdet.visualization.plots` draws them."""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cxrdet.core.bootstrap_curves import calibration_curve, pr_band, pr_curve
from cxrdet.core.classification.calibration import calibration_error
from cxrdet.core.classification.multilabel import average_precision
from cxrdet.core.classification.roc import AurocInterval, as_columns, auroc, auroc_interval
from cxrdet.core.classification.thresholds import roc_band, roc_points
from cxrdet.core.detection.average_precision import class_precisions
from cxrdet.core.detection.froc import froc, froc_interval
from cxrdet.core.detection.matching import LesionTable


class Line(NamedTuple):
    """A line of a panel."""

    x: np.ndarray  # (K,)
    y: np.ndarray  # (K,); NaN leaves a gap
    name: str = ''  # in the legend; none if empty
    look: int = 0  # 0, 1, 2 … is a colour with a style of its own; -1 a dotted grey line of reference
    band: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None  # x, lower, upper
    step: bool = False  # the value of a point holds from the point before it on
    marks: bool = False  # draw the points


class Panel(NamedTuple):
    """A small plot."""

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]  # back to front
    note: str = ''  # the numbers that belong to the curve, or why there is none
    x_range: tuple[float, float] | None = (0, 1)  # (low, high); None: that of the lines
    y_range: tuple[float, float] | None = (0, 1)
    log_x: bool = False  # logarithmic axis
    log_y: bool = False
    whole_x: bool = False  # epochs or iterations
    best: tuple[float, float] | None = None  # (x, y) of the best value, which is marked


def roc_panels(y_true, y_score, classes: Sequence[str], *, groups=None, samples: int = 200,
               interval: AurocInterval | None = None) -> list[Panel]:
    """The ROC curve of each class, with AUROC, its 95 % interval and what it is, and a pointwise 95 % bootstrap band.

    Args:
        y_true, y_score: (N, C) labels 1, 0 or NaN, and scores.
        classes: C names.
        groups: (N,) patient of each row; None: each row for itself.
        samples: draws of the band; 0 leaves it out.
        interval: of the AUROC; None: that of :func:`cxrdet.core.classification.roc.auroc_interval`.
    """
    true, score = _checked(y_true, y_score, classes)
    areas, (low, high, method, _) = auroc(true, score), interval or auroc_interval(true, score, groups=groups)
    panels = []
    for i, name in enumerate(classes):
        lines, note = [_reference([0, 1], [0, 1])], 'no curve: lacks positives or negatives'
        if not np.isnan(areas[i]):
            band = roc_band(true[:, i], score[:, i], groups=groups, samples=samples) if samples else None
            lines.append(Line(*roc_points(true[:, i], score[:, i])[:2], band=band))
            note = f'AUROC {areas[i]:.3f}' + ('' if np.isnan(low[i]) else f' [{low[i]:.2f}, {high[i]:.2f}] {method}')
        panels.append(Panel(_title(name, true[:, i]), 'false positive rate (1 - specificity)',
                            'true positive rate (sensitivity)', lines, note))
    return panels


def pr_panels(y_true, y_score, classes: Sequence[str], *, groups=None, samples: int = 200) -> list[Panel]:
    """The precision-recall curve of each class with its average precision and a
    bootstrap band; dotted: the share of positives. Arguments as for :func:`roc_panels`.
    """
    true, score = _checked(y_true, y_score, classes)
    panels = []
    for i, (name, average) in enumerate(zip(classes, average_precision(true, score))):
        known = ~np.isnan(true[:, i])
        label = true[known, i] == 1
        share = float(label.mean()) if label.any() else 0.
        panel = _pr_panel(_title(name, true[:, i]), score[known, i], label, np.arange(len(label)), label,
                          groups=None if groups is None else np.asarray(groups)[known], samples=samples,
                          note=f'AP {average:.3f} (share {share:.3f})', missing='no curve: lacks positives')
        panels.append(panel._replace(lines=[_reference([0, 1], [share, share]), *panel.lines] if panel.lines else []))
    return panels


def detection_pr_panels(table: LesionTable, classes: Sequence[str], *, groups=None, samples: int = 200) -> list[Panel]:
    """The precision-recall curve of the boxes of each class, with COCO's
    average precision and a bootstrap band. ``groups``: (I,) patient of each
    image; None: each image for itself.
    """
    average = class_precisions(table.labels, table.scores, table.hits, table.lesions.sum(axis=0))
    panels = []
    for i, name in enumerate(classes):
        mine = table.labels == i
        panels.append(_pr_panel(
            f'{name}  ({table.lesions[:, i].sum()} boxes)', table.scores[mine], table.hits[mine], table.image[mine],
            table.lesions[:, i], groups=groups, samples=samples, missing='no curve: no box of this class',
            note=f'AP {average[i]:.3f}' + ('' if mine.any() else ': no detection of this class')))
    return panels


def froc_panels(table: LesionTable, classes: Sequence[str], *, groups=None, samples: int = 200) -> list[Panel]:
    """FROC curves with bootstrap bands: all classes together, then each."""
    panels = []
    for i, name in [(-1, 'all classes'), *enumerate(classes)] if len(classes) > 1 else enumerate(classes):
        mine = slice(None) if i < 0 else table.labels == i
        lesions = table.lesions.sum(axis=1) if i < 0 else table.lesions[:, i]
        lines, note = [], 'no curve: no box of this class'
        if lesions.sum():
            curve = froc(table.scores[mine], table.hits[mine], len(lesions), int(lesions.sum()))
            note, band = f'mean of 1/8 … 8: {curve.mean:.3f}', None
            if samples:
                ends = froc_interval(table.scores[mine], table.hits[mine], table.image[mine], lesions, groups=groups,
                                     samples=samples)
                band = ends.grid, ends.grid_low, ends.grid_high
                note += f' [{ends.mean_low:.2f}, {ends.mean_high:.2f}]'
            x, y = _thinned(np.append(curve.curve_rates, 16), np.append(curve.curve_sensitivity,
                                                                        curve.curve_sensitivity[-1]))
            lines = [Line(np.maximum(x, 1 / 64), y, band=band)]
        panels.append(Panel(f'{name}  ({int(lesions.sum())} boxes)', 'false positives per image', 'sensitivity', lines,
                            note, x_range=(1 / 16, 16), log_x=True))
    return panels


def calibration_panel(y_true, y_prob, title: str, *, groups=None, samples: int = 200) -> Panel:
    """Share of positives against mean probability, with bootstrap intervals, and the expected calibration error;
    arguments as for :func:`cxrdet.core.bootstrap_curves.calibration_curve`.
    """
    curve = calibration_curve(y_true, y_prob, groups=groups, samples=samples)
    lines, note = [_reference([0, 1], [0, 1])], 'no curve: no known label'
    if len(curve.count):
        error = calibration_error(y_true, y_prob)[0]
        note = f'calibration error {error:.3f}, {curve.count.sum()} entries'
        lines.append(Line(curve.mean, curve.share, band=(curve.mean, curve.low, curve.high), marks=True))
    return Panel(title, 'mean probability', 'share of positives', lines, note)


def _pr_panel(title: str, scores, hits, image, targets, *, groups, samples: int, note: str, missing: str) -> Panel:
    lines, total = [], int(targets.sum())
    if total:
        band = pr_band(scores, hits, image, targets, groups=groups, samples=samples) if samples else None
        recall, precision = pr_curve(scores, hits, total)
        if len(recall):  # without any detection there is no point, and none at recall 0 either
            recall, precision = _thinned(np.append(0, recall), np.append(precision[:1], precision))
        lines = [Line(recall, precision, look=1, band=band, step=True)]
    return Panel(title, 'recall (sensitivity)', 'precision', lines, note if total else missing)


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = np.unique(np.linspace(0, len(x) - 1, min(1000, len(x))).astype(int)) if len(x) else slice(0)
    return x[rows], y[rows]


def _reference(x: Sequence[float], y: Sequence[float]) -> Line:
    return Line(np.array(x, np.float64), np.array(y, np.float64), look=-1)


def _title(name: str, true: np.ndarray) -> str:
    return f'{name}  ({int((true == 1).sum())} of {int((~np.isnan(true)).sum())})'


def _checked(y_true, y_score, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    true, score = as_columns(y_true, y_score)
    if len(classes) != true.shape[1] or not len(classes):
        raise ValueError(f'expected one name for each of {true.shape[1]} classes, got {len(classes)}')
    return true, score
