"""ROC and precision-recall curves of many classes, one small panel a class, as a picture file.

Colours are those of :mod:`cxrdet.visualization.boxes`, which all kinds of colour blindness tell apart.
"""
import math
import os
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cxrdet.core.files import atomic_path
from cxrdet.core.multilabel import average_precision, precision_recall_points
from cxrdet.core.roc import as_columns, auroc, delong_interval
from cxrdet.core.thresholds import roc_band, roc_points
from cxrdet.visualization.boxes import PALETTE

__all__ = ['draw_pr_curves', 'draw_roc_curves']

_BLUE, _VERMILLION = (tuple(value / 255 for value in color[::-1]) for color in PALETTE[:2])
_PANEL = 2.6  # inches


def draw_roc_curves(path: str | os.PathLike, y_true, y_score, classes: Sequence[str], *, groups=None,
                    samples: int = 200) -> None:
    """Write the ROC curve of each class, with its AUROC, DeLong's 95 % interval and a pointwise 95 % bootstrap band.

    A class that lacks positives or negatives gets an empty panel that says so.

    Args:
        path: picture file; its suffix gives the format (png, pdf, svg ...).
        y_true, y_score: (N, C) labels 1, 0 or NaN, and scores.
        classes: C names.
        groups: (N,) patient of each row, for the band; None: each row for itself.
        samples: draws of the band; 0 leaves it out.

    Raises: ValueError as :func:`cxrdet.core.roc.as_columns`, or if there is not one name a class.
    """
    true, score = as_columns(y_true, y_score)
    areas, (low, high) = auroc(true, score), delong_interval(true, score)

    def draw(axes, i: int) -> str:
        false_rate, true_rate, _ = roc_points(true[:, i], score[:, i])
        axes.plot([0, 1], [0, 1], color='0.6', linewidth=0.8, linestyle='dotted')
        if np.isnan(areas[i]):
            return 'no curve: lacks positives or negatives'
        if samples:
            at, lower, upper = roc_band(true[:, i], score[:, i], groups=groups, samples=samples)
            axes.fill_between(at, lower, upper, color=_BLUE, alpha=0.2, linewidth=0)
        axes.plot(false_rate, true_rate, color=_BLUE, linewidth=1.4)
        interval = '' if np.isnan(low[i]) else f' [{low[i]:.2f}, {high[i]:.2f}]'
        return f'AUROC {areas[i]:.3f}{interval}'
    _write(path, true, classes, draw, 'false positive rate (1 - specificity)', 'true positive rate (sensitivity)',
           'lower right')


def draw_pr_curves(path: str | os.PathLike, y_true, y_score, classes: Sequence[str]) -> None:
    """Write the precision-recall curve of each class with its average precision; dotted: the share of positives.

    Arguments and errors as for :func:`draw_roc_curves`; a class without positives gets an empty panel that says so.
    """
    true, score = as_columns(y_true, y_score)
    average = average_precision(true, score)

    def draw(axes, i: int) -> str:
        if np.isnan(average[i]):
            return 'no curve: lacks positives'
        precision, recall, _ = precision_recall_points(true[:, i], score[:, i])
        share = np.nanmean(true[:, i])
        axes.plot([0, 1], [share, share], color='0.6', linewidth=0.8, linestyle='dotted')
        axes.step(np.append(0, recall), np.append(precision[0], precision), where='pre', color=_VERMILLION,
                  linewidth=1.4)
        return f'AP {average[i]:.3f} (share {share:.3f})'
    _write(path, true, classes, draw, 'recall (sensitivity)', 'precision', 'lower left')


def _write(path: str | os.PathLike, true: np.ndarray, classes: Sequence[str], draw: Callable, below: str, beside: str,
           corner: str) -> None:
    if len(classes) != true.shape[1] or not len(classes):
        raise ValueError(f'expected one name for each of {true.shape[1]} classes, got {len(classes)}')
    columns = math.ceil(math.sqrt(len(classes)))
    rows = math.ceil(len(classes) / columns)
    figure = Figure(figsize=(_PANEL * columns, (_PANEL + 0.25) * rows + 0.3), layout='constrained')
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).reshape(-1)
    for i, axes in enumerate(panels):
        if i >= len(classes):
            axes.set_visible(False)
            continue
        text = draw(axes, i)
        positives, known = int((true[:, i] == 1).sum()), int((~np.isnan(true[:, i])).sum())
        axes.set_title(f'{classes[i]}  ({positives} of {known})', fontsize=9)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect='equal')
        axes.tick_params(labelsize=7)
        axes.grid(color='0.9', linewidth=0.5)
        side, x = ('right', 0.97) if corner == 'lower right' else ('left', 0.03)
        axes.text(x, 0.04, text, transform=axes.transAxes, ha=side, va='bottom', fontsize=7,
                  bbox=dict(facecolor='white', edgecolor='none', alpha=0.7, pad=1))
    figure.supxlabel(below, fontsize=9)
    figure.supylabel(beside, fontsize=9)
    with atomic_path(path) as beside_path:
        figure.savefig(beside_path, dpi=120)
