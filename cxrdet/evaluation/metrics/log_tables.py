"""The tables that metrics write into the log."""
from collections.abc import Mapping, Sequence

import numpy as np

from cxrdet.core.classification.multilabel import Rates

_RATES = ('accuracy', 'precision', 'recall', 'specificity', 'F1', 'hamming')


def rate_table(head: Sequence[str], rows: Sequence[Sequence]) -> str:
    """A line for each of ``rows``: name, count and numbers, under the titles ``head``."""
    width = max(len(str(row[0])) for row in (head, *rows))
    lines = [f'{head[0]:<{width}}  {head[1]:>7}' + ''.join(f'  {name:>9}' for name in head[2:])]
    lines += [f'{name:<{width}}  {count:>7}' + ''.join(f'  {value:>9.4f}' for value in values)
              for name, count, *values in rows]
    return '\n'.join(lines)


def absent_text(classes: Sequence[str], counts, what: str) -> str:
    """Which classes do not occur, '' if all do."""
    absent = [name for name, count in zip(classes, counts) if not count]
    return f'{len(absent)} of {len(classes)} classes have no {what} here; their values are NaN and left out of the ' \
           f'means: {", ".join(absent)}' if absent else ''


def class_table(classes: Sequence[str], true: np.ndarray, areas: Mapping, values: Mapping, metrics: Mapping,
                point: str | None, bounds: np.ndarray | None, table: Rates | None) -> str:
    """One line for each class: positives of known labels, AUROC with its interval, AP, ECE, and rates at ``point``."""
    width = max([len('of findings'), *map(len, classes)])
    heads = f'{"class":<{width}}  {"positives":>13}  {"AUROC":>6}  {"95 % interval":>15}  {"AP":>6}  {"ECE":>6}'
    if table is not None:
        heads += f'  {"threshold":>9}' + ''.join(f'  {name:>11}' for name in _RATES[1:5]) + f'   at "{point}"'
    lines, interval = [heads], areas['interval']
    for i, name in enumerate(classes):
        count = f'{int((true[:, i] == 1).sum())} of {int((~np.isnan(true[:, i])).sum())}'
        line = (f'{name:<{width}}  {count:>13}  {areas["AUROC"][i]:>6.4f}  '
                f'{_interval(interval.low[i], interval.high[i])}  {values["AP"][i]:>6.4f}  {values["ECE"][i]:>6.4f}')
        if table is not None:
            line += f'  {bounds[i]:>9.4g}' + ''.join(
                f'  {rate[i]:>11.4f}' for rate in (table.precision, table.recall, table.specificity, table.f1))
        lines.append(line)
    means = {'AUROC_mean': ('mean', f'{metrics["AP_mean"]:>6.4f}  {metrics["ECE_mean"]:>6.4f}'),
             'AUROC_mean_findings': ('of findings', '')}
    for key, (name, rest) in means.items():
        if key in metrics:
            interval = _interval(metrics[f'{key}_low'], metrics[f'{key}_high'])
            lines.append(f'{name:<{width}}  {"":>13}  {metrics[key]:>6.4f}  {interval}  {rest}'.rstrip())
    return '\n'.join(lines)


def point_table(metrics: Mapping, points: Mapping, at: Mapping[str, Rates], use: np.ndarray) -> str:
    """Two lines for each operating point: rates averaged over classes (macro) and
    pooled (micro), and where the mean precision is over fewer classes than ``use``
    (C,): a class in which nothing is called positive has none.
    """
    if not points:
        return ''
    width = max(len('operating point'), *(len(name) + 6 for name in points))
    lines = [f'{"operating point":<{width}}' + ''.join(f'  {name:>11}' for name in _RATES)]
    for name in points:
        for kind in ('macro', 'micro'):
            lines.append(f'{name + " " + kind:<{width}}' + ''.join(
                f'  {metrics[f"{rate}_{kind}@{name}"]:>11.4f}' for rate in _RATES))
    defined = {name: int((use & ~np.isnan(at[name].precision)).sum()) for name in points}
    fewer = [f'{number} of {use.sum()} at "{name}"' for name, number in defined.items() if number < use.sum()]
    lines += [f'macro precision is over the classes in which something was called positive: {", ".join(fewer)}'
              ] if fewer else []
    return '\n'.join(lines)


def _interval(low: float, high: float) -> str:
    return f'{"-":>15}' if np.isnan(low) else f'{f"{low:.4f}-{high:.4f}":>15}'
