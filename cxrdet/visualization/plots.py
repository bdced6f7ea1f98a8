"""Panels of curves (:mod:`cxrdet.visualization.panels`) drawn by matplotlib: as files, and as SVG in the report page.

Lines differ by colour and dashes, so that they are told apart without colour. Numbers stand
above the curves, never on them.
"""
import io
import math
import os
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from cxrdet.core.errors import ConfigError
from cxrdet.core.files import atomic_path
from cxrdet.core.terminal import visible
from cxrdet.visualization.boxes import PALETTE
from cxrdet.visualization.panels import Line, Panel

_COLORS = ['#{2:02x}{1:02x}{0:02x}'.format(*color) for color in PALETTE[:6]]  # yellow is too faint on white
_DASHES = ((), (4, 1.4), (1.2, 1.2), (4.5, 1.1, 1.1, 1.1), (7, 1.8), (2.4, 2.4))  # on, off, … in widths of the line
_INK, _SOFT, _EDGE = '#1d2430', '#55606e', '#e2e5ea'
#: Colours of a drawing -> variables of the page's style sheet, which has other ones for the dark and for paper.
_THEME = {_INK: 'ink', _SOFT: 'soft', _EDGE: 'edge', **{color: f'look{i}' for i, color in enumerate(_COLORS)}}
_WIDTH = 1.4
_SMALL, _LARGE = (2.6, 2.9), (5, 4.2)  # inches of a panel in a file, the latter with a legend


def write_panels(path: str | os.PathLike, panels: Sequence[Panel]) -> Path:
    """Write panels side by side to a picture file; return ``path``, whose suffix says which kind (.png, .svg, .pdf).

    Raises: ValueError if there is no panel, ConfigError for a suffix that matplotlib does not know.
    """
    if not panels:
        raise ValueError('expected at least one panel, got none')
    legends = any(line.name for panel in panels for line in panel.lines)
    columns = min(3, len(panels)) if legends else math.ceil(math.sqrt(len(panels)))
    rows, size = math.ceil(len(panels) / columns), _LARGE if legends else _SMALL
    figure = Figure(figsize=(size[0] * columns, size[1] * rows + 0.3), dpi=120, layout='constrained')
    kinds = figure.canvas.get_supported_filetypes()
    if Path(path).suffix[1:].lower() not in kinds:
        raise ConfigError(f'{path}: pictures can be written as {", ".join(f".{kind}" for kind in sorted(kinds))}.')
    for i, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.set_box_aspect(None if legends else 1)
        _draw_frame(axes, panel)
        _draw_curves(axes, panel)
        axes.set_title(textwrap.fill(plain(panel.title), 36), fontsize=9, color=_INK, pad=15 if panel.note else 5)
        axes.text(0.5, 1.02, plain(panel.note), transform=axes.transAxes, ha='center', va='bottom', fontsize=7,
                  color=_SOFT)
        if any(line.name for line in panel.lines):
            axes.legend(fontsize='small')
    figure.supxlabel(panels[0].x_label, fontsize=9, color=_INK)
    figure.supylabel(panels[0].y_label, fontsize=9, color=_INK)
    with atomic_path(path) as beside:
        figure.savefig(beside)
    return Path(path)


def drawn(panels: Sequence[Panel]) -> Iterator[tuple[Panel, str]]:
    """Each panel with its SVG element, without title, note and legend, in the colours of the page's style sheet."""
    axes, frame = None, None
    for panel in panels:
        same, frame = frame, panel._replace(title='', lines=(), note='')
        if axes is None or frame != same or None in (panel.x_range, panel.y_range):
            axes = Figure(figsize=(3.2, 2.5)).add_axes((0.145, 0.175, 0.825, 0.78))
            _draw_frame(axes, panel)
            axes.set_xlabel(panel.x_label, fontsize=8, color=_INK)
            axes.set_ylabel(panel.y_label, fontsize=8, color=_INK)
            axes.yaxis.set_label_coords(-0.13, 0.5)
        _draw_curves(axes, panel)
        text = io.StringIO()
        with rc_context({'svg.fonttype': 'none'}):
            axes.figure.savefig(text, format='svg', transparent=True,
                                metadata=dict.fromkeys(('Creator', 'Date', 'Format', 'Type')))
        for artist in [*axes.lines, *axes.collections, *axes.texts]:  # the frame stays for the next: half of the time
            artist.remove()
        yield panel, _for_the_page(text.getvalue())


def look_of(number: int) -> tuple[str, str]:
    """Colour, as the page's style sheet has it, and dashes of a line in the legend of the page."""
    return f'var(--look{number % len(_COLORS)})', ' '.join(f'{part * _WIDTH:g}' for part in _dashes(number)) or 'none'


def plain(text: object) -> str:
    """A name for matplotlib: on one line, control characters written out, and dollar signs drawn."""
    return visible(text, one_line=True).replace('$', r'\$')


def _for_the_page(svg: str) -> str:
    """Without what is of the file or double in a page: declaration, style sheet, names of groups, fonts, blanks, and
    decimals of coordinates.
    """
    svg = re.sub(r'(?<![>\d.\N{MINUS SIGN}])-?\d+\.\d{3,}', lambda found: f'{float(found[0]):.1f}'.removesuffix('.0'),
                 svg[svg.index('<svg'):])
    svg = re.sub(r'<defs>\s*<style.*?</defs>| id="[\w.]+_\d+"| font-family: [^;"]+;| transform="rotate\(-0 [^"]+"|<g/>|'
                 r'(?<=>)\s+(?=<)| ?\n|(?<=\d) (?=[LMz])|(?<=[LM]) (?=[-\d])', '', svg, flags=re.DOTALL)
    return re.sub('|'.join(_THEME), lambda found: f'var(--{_THEME[found[0]]})', svg)


def _dashes(number: int) -> tuple[float, ...]:
    return _DASHES[(number + number // len(_COLORS)) % len(_DASHES)]


def _draw_frame(axes: Axes, panel: Panel) -> None:
    if panel.log_x:
        axes.set_xscale('log', base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f'{value:g}' if value >= 1 else f'1/{1 / value:g}')
    elif panel.whole_x:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    if panel.log_y:
        axes.set_yscale('log', nonpositive='mask')
    for ends, set_ends, log in ((panel.x_range, axes.set_xlim, panel.log_x),
                                (panel.y_range, axes.set_ylim, panel.log_y)):
        if ends is not None:
            air = 0 if log else 0.01 * (ends[1] - ends[0])
            set_ends(ends[0] - air, ends[1] + air)
    axes.margins(y=0.1)
    axes.minorticks_off()
    axes.tick_params(labelsize=7.5, length=0, labelcolor=_SOFT)
    axes.grid(color=_EDGE, linewidth=0.5)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set(color=_SOFT, linewidth=0.7)


def _draw_curves(axes: Axes, panel: Panel) -> None:
    shown = sum(line.look >= 0 for line in panel.lines)
    for line in panel.lines:
        _draw_line(axes, line, alone=shown == 1)
    if not shown:
        axes.text(0.5, 0.3, 'no data', ha='center', va='center', color=_SOFT, transform=axes.transAxes, fontsize=8)
    if panel.best is not None:
        axes.axvline(panel.best[0], color=_SOFT, linewidth=1, linestyle=':', zorder=0)
        axes.annotate(f'{panel.best[1]:.4g}', panel.best, textcoords='offset points', xytext=(-4, 4), ha='right',
                      fontsize=8, color=_INK)
    if panel.log_y:
        values = np.concatenate([np.asarray(line.y, np.float64) for line in panel.lines] or [np.empty(0)])
        values = values[np.isfinite(values) & (values > 0)]
        if values.size and values.max() < 1.001 * values.min():  # of one value matplotlib would make an empty range
            axes.set_autoscaley_on(False)
            axes.set_ylim(values.min() / 4, values.min() * 4)
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, ) if high > 100 * low else (1, 2, 5)))
        axes.yaxis.set_major_formatter('{x:g}')


def _draw_line(axes: Axes, line: Line, *, alone: bool) -> None:
    if line.look < 0:
        axes.plot(line.x, line.y, color=_SOFT, linewidth=0.8, linestyle='dotted')
        return
    color = _COLORS[line.look % len(_COLORS)]
    if line.band is not None and line.marks:
        at, low, high = line.band
        axes.vlines(at, low, high, color=color, alpha=0.5, linewidth=1)
    elif line.band is not None:
        axes.fill_between(*line.band, color=color, alpha=0.2, linewidth=0)
    dashes = () if alone else _dashes(line.look)
    axes.plot(line.x, line.y, label=plain(line.name), color=color, linewidth=_WIDTH, markersize=3,
              linestyle=(0, dashes) if dashes else 'solid', marker='o' if line.marks else None,
              drawstyle='steps-pre' if line.step else 'default')
