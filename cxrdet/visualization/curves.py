"""Curves of training runs as panels, of the records of :mod:`cxrdet.core.history`."""
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from cxrdet.core.errors import ConfigError, did_you_mean
from cxrdet.core.history import better_is, position, scalars, series
from cxrdet.visualization.panels import Line, Panel

#: What a picture shows first, by the last part of the name; values of single classes stay out.
_MAIN_SCORES = (r'(bbox_)?mAP|AUROC(_mean)?|top1|balanced|mean',
                r'accuracy(_micro@0\.5)?',
                r'bbox_mAP_50|bbox_AR@\d+|AP_mean|(macro_)?F1(_macro)?(@0\.5)?|f1-score',
                r'AUROC_micro|(precision|recall|sensitivity|specificity)(_macro)?(@0\.5)?')
_MOST_LINES = 6


def history_panels(records: Sequence[Mapping], *, main: str | None = None,
                   rules: Mapping[str, str] | None = None) -> list[Panel]:
    """Loss, main scores and learning rate of one run. ``main`` is the metric by which
    the best checkpoint is chosen, drawn first, with its best value marked; ``rules``:
    see :func:`cxrdet.core.history.better_is`.

    ``records`` of the run: at least one.
    """
    panels = []
    for title, names in _chosen(records, main).items():
        lines = {name.removeprefix('lr/'): series(records, name) for name in names}
        panel = _panel(title, lines, [records])
        if main in names and lines[main][1]:
            where, values = lines[main]
            best = min(values) if better_is(main, rules) == 'less' else max(values)
            panel = panel._replace(best=(where[values.index(best)], best))
        panels.append(panel)
    return panels


def _chosen(records: Sequence[Mapping], main: str | None) -> dict[str, list[str]]:
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


def compare_histories(runs: Mapping[str, Sequence[Mapping]], keys: Sequence[str] | None = None) -> list[Panel]:
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
    return [_panel(key, {name: series(records, key) for name, records in runs.items()}, runs.values())
            for key in keys or known[:1]]


def _panel(title: str, lines: Mapping[str, tuple[list[int], list[float]]],
           runs: Iterable[Sequence[Mapping]]) -> Panel:
    """All panels of ``runs`` show the same epochs, whatever each has values for."""
    runs = list(runs)
    places = [position(record) for records in runs for record in records]
    margin = max(0.05 * (max(places) - min(places)), 0.5)
    rates = title == 'learning rate' and any(value > 0 for _, values in lines.values() for value in values)
    return Panel(title, 'epoch' if any('epoch' in records[-1] for records in runs) else 'iteration', '',
                 [Line(np.array(where, np.float64), np.array(values, np.float64), name, i, marks=len(where) < 30)
                  for i, (name, (where, values)) in enumerate(lines.items())], '' if lines else 'not recorded',
                 (min(places) - margin, max(places) + margin), None, log_y=rates, whole_x=True)


def _names(records: Sequence[Mapping]) -> list[str]:
    """Names of the scalars that have at least one value."""
    return list(dict.fromkeys(name for record in records for name, value in scalars(record).items()
                              if value is not None))


def _main_scores(names: Sequence[str]) -> list[str]:
    names = [name for name in names if name == 'train/accuracy' or not name.startswith(('train/', 'lr/'))]
    return list(dict.fromkeys(name for pattern in _MAIN_SCORES for name in names
                              if re.fullmatch(pattern, name.rpartition('/')[2], re.IGNORECASE)))
