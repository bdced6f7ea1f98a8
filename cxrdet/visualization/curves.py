"""Curves of training runs, of the records of :mod:`cxrdet.core.history`."""
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cxrdet.core.errors import ConfigError, did_you_mean
from cxrdet.core.files import atomic_path
from cxrdet.core.history import better_is, position, scalars, series
from cxrdet.visualization.boxes import PALETTE
from cxrdet.visualization.text import plain

_COLORS = ['#{2:02x}{1:02x}{0:02x}'.format(*color) for color in PALETTE[:6]]  # yellow is too faint on white
_LINES = ('-', '--', ':', '-.')
#: What a picture shows first, by the last part of the name; values of single classes stay out.
_MAIN_SCORES = (r'(bbox_)?mAP|AUROC(_mean)?|top1|balanced|mean',
                r'accuracy(_micro@0\.5)?',
                r'bbox_mAP_50|bbox_AR@\d+|AP_mean|(macro_)?F1(_macro)?(@0\.5)?|f1-score',
                r'AUROC_micro|(precision|recall|sensitivity|specificity)(_macro)?(@0\.5)?')
_MOST_LINES = 6


def draw_history(records: Sequence[Mapping], *, main: str | None = None,
                 rules: Mapping[str, str] | None = None) -> Figure:
    """Loss, main scores and learning rate of one run, side by side. ``main`` is the
    metric by which the best checkpoint is chosen, drawn first, with its best value
    marked; ``rules``: see :func:`cxrdet.core.history.better_is`.

    ``records`` of the run: at least one.
    """
    shown = chosen_series(records, main)
    figure = Figure(figsize=(15, 4.5), dpi=100, layout='constrained')
    panels = figure.subplots(1, 3)
    for axes, (title, names) in zip(panels, shown.items(), strict=True):
        _decorate(axes, title, records)
        for i, name in enumerate(names):
            _line(axes, *series(records, name), i, name.removeprefix('lr/') if title == 'learning rate' else name)
        if main in names:
            _mark_best(axes, *series(records, main), better_is(main, rules))
        _finish(axes, bool(names))
    if any(value > 0 for name in shown['learning rate'] for value in series(records, name)[1]):
        panels[2].set_yscale('log', nonpositive='mask')
    return figure


def chosen_series(records: Sequence[Mapping], main: str | None = None) -> dict[str, list[str]]:
    """Names of the scalars that tell most of a run, under ``loss``, ``score`` and
    ``learning rate``, six at most; the metric ``main`` comes first among the scores.
    """
    names = _names(records)
    losses = [name for name in ('train/loss', 'val/loss') if name in names]
    losses = losses or [name for name in names if 'loss' in name][:_MOST_LINES]
    scores = list(dict.fromkeys([*([main] if main in names and main not in losses else []), *_main_scores(names)]))
    rates = [name for name in names if name.startswith('lr/')]
    if len(rates) > _MOST_LINES:
        rates = sorted(rates, key=lambda name: max(series(records, name)[1], default=0))
        rates = rates[:1] + rates[-_MOST_LINES + 1:]
    return {'loss': losses, 'score': scores[:_MOST_LINES], 'learning rate': rates}


def compare_histories(runs: Mapping[str, Sequence[Mapping]], keys: Sequence[str] | None = None) -> Figure:
    """One panel a key, one line a run; ConfigError if no run has a key, or there is no run.

    Args:
        runs: name of the run, as in the legend -> its records.
        keys: names as in :func:`cxrdet.core.history.scalars`; by default the losses and main scores that a run has.
    """
    if not runs:
        raise ConfigError('No run to draw: name at least one work folder or history.json.')
    known = list(dict.fromkeys(name for records in runs.values() for name in _names(records)))
    for key in keys or ():
        if key not in known:
            raise ConfigError(f'No run has "{key}".{did_you_mean(key, known)} There are: {", ".join(known)}.')
    keys = keys or [name for name in ('train/loss', 'val/loss') if name in known] + _main_scores(known)[:4]
    keys = keys or known[:1]
    columns = min(3, len(keys))
    rows = -(-len(keys) // columns)
    figure = Figure(figsize=(5.5 * columns, 4.2 * rows + 0.3), dpi=100, layout='constrained')
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, key in zip(panels, keys, strict=False):
        _decorate(axes, key, *runs.values())
        for i, (name, records) in enumerate(runs.items()):
            _line(axes, *series(records, key), i, name)
        _finish(axes, True)
    for axes in list(figure.axes)[len(keys):]:
        axes.remove()
    return figure


def save_figure(figure: Figure, path: str | os.PathLike) -> Path:
    """Write a picture so that it is whole at any moment; return ``path``, whose suffix says which kind.

    Raises: ConfigError if matplotlib does not know the suffix.
    """
    kinds = figure.canvas.get_supported_filetypes()
    if Path(path).suffix[1:].lower() not in kinds:
        raise ConfigError(f'{path}: pictures can be written as {", ".join(f".{kind}" for kind in sorted(kinds))}.')
    with atomic_path(path) as beside:
        figure.savefig(beside)
    return Path(path)


def _names(records: Sequence[Mapping]) -> list[str]:
    """Names of the scalars that have at least one value."""
    return list(dict.fromkeys(name for record in records for name, value in scalars(record).items()
                              if value is not None))


def _main_scores(names: Sequence[str]) -> list[str]:
    names = [name for name in names if name == 'train/accuracy' or not name.startswith(('train/', 'lr/'))]
    return list(dict.fromkeys(name for pattern in _MAIN_SCORES for name in names
                              if re.fullmatch(pattern, name.rpartition('/')[2], re.IGNORECASE)))


def _decorate(axes: Axes, title: str, *runs: Sequence[Mapping]) -> None:
    axes.set_title(plain(title))
    axes.set_xlabel('epoch' if any('epoch' in records[-1] for records in runs) else 'iteration')
    places = [position(record) for records in runs for record in records]
    margin = max(0.05 * (max(places) - min(places)), 0.5)
    axes.set_xlim(min(places) - margin, max(places) + margin)  # the same in all panels, whatever each has values for
    axes.margins(y=0.1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.grid(alpha=0.3)


def _line(axes: Axes, where: list[int], values: list[float], index: int, label: str) -> None:
    style = dict(color=_COLORS[index % len(_COLORS)], linestyle=_LINES[index // len(_COLORS) % len(_LINES)])
    axes.plot(where, values, label=plain(label), marker='o' if len(where) < 30 else None, markersize=3, **style)


def _mark_best(axes: Axes, where: list[int], values: list[float], rule: str | None) -> None:
    if values:
        best = min(values) if rule == 'less' else max(values)
        axes.axvline(where[values.index(best)], color='0.5', linewidth=1, linestyle=':', zorder=0)
        axes.annotate(f'{best:.4g}', (where[values.index(best)], best), textcoords='offset points', xytext=(4, 4))


def _finish(axes: Axes, drawn: bool) -> None:
    if drawn:
        axes.legend(fontsize='small')
    else:
        axes.text(0.5, 0.5, 'not recorded', ha='center', va='center', color='0.5', transform=axes.transAxes)
