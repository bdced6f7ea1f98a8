"""Panels of curves (:mod:`cxrdet.visualization.panels`) as a picture file."""
import math
import os
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cxrdet.core.files import atomic_path
from cxrdet.visualization.boxes import PALETTE
from cxrdet.visualization.panels import Line, Panel
from cxrdet.visualization.text import plain

_COLORS = tuple(tuple(value / 255 for value in color[::-1]) for color in PALETTE)
_STYLES = ('solid', 'dashed', 'dashdot')
_PANEL = 2.6  # inches


def draw_panels(path: str | os.PathLike, panels: Sequence[Panel]) -> None:
    """Write panels to a picture file, in rows as many as columns; raises ValueError if there is none."""
    if not panels:
        raise ValueError('expected at least one panel, got none')
    columns = math.ceil(math.sqrt(len(panels)))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(_PANEL * columns, (_PANEL + 0.25) * rows + 0.3), layout='constrained')
    FigureCanvasAgg(figure)
    places = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).reshape(-1)
    for axes, panel in zip(places, panels):
        _draw(axes, panel)
    for axes in places[len(panels):]:
        axes.set_visible(False)
    figure.supxlabel(panels[0].x_label, fontsize=9)
    figure.supylabel(panels[0].y_label, fontsize=9)
    with atomic_path(path) as beside_path:
        figure.savefig(beside_path, dpi=120)


def _draw(axes: Axes, panel: Panel) -> None:
    for line in panel.lines:
        _draw_line(axes, line)
    axes.set_title(plain(panel.title), fontsize=9)
    if panel.log_x:
        axes.set_xscale('log', base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f'{value:g}' if value >= 1 else f'1/{1 / value:g}')
    for (low, high), set_ends, log in ((panel.x_range, axes.set_xlim, panel.log_x),
                                       (panel.y_range, axes.set_ylim, panel.log_y)):
        edge = 0 if log else 0.01 * (high - low)
        set_ends(low - edge, high + edge)
    axes.set_box_aspect(1)
    axes.tick_params(labelsize=7)
    axes.grid(color='0.9', linewidth=0.5)
    height, side = panel.note_at.split()
    place = 0.97 if side == 'right' else 0.03, 0.04 if height == 'lower' else 0.97
    axes.text(*place, plain(panel.note), transform=axes.transAxes, ha=side, va='bottom' if height == 'lower' else 'top',
              fontsize=7,
              bbox=dict(facecolor='white', edgecolor='none', alpha=0.7, pad=1))


def _draw_line(axes: Axes, line: Line) -> None:
    if line.look < 0:
        axes.plot(line.x, line.y, color='0.6', linewidth=0.8, linestyle='dotted')
        return
    color = _COLORS[line.look % len(_COLORS)]
    style = dict(color=color, linewidth=1.4, linestyle=_STYLES[line.look // len(_COLORS) % len(_STYLES)])
    if line.band is not None and line.marks:
        at, low, high = line.band
        middle = np.clip(line.y, low, high)
        axes.errorbar(at, middle, [middle - low, high - middle], fmt='none', ecolor=color, alpha=0.5, linewidth=1)
    elif line.band is not None:
        axes.fill_between(*line.band, color=color, alpha=0.2, linewidth=0)
    draw = axes.step if line.step else axes.plot
    draw(line.x, line.y, marker='o' if line.marks else None, markersize=3, **(
        dict(where='pre') if line.step else {}), **style)
