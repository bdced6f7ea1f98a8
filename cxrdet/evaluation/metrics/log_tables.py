"""The tables that metrics write into the log."""
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

import numpy as np

from cxrdet.core.classification.multilabel import Rates
from cxrdet.core.diagnosis import listed

_RATES = ('accuracy', 'precision', 'recall', 'specificity', 'F1', 'hamming')


def text_table(rows: Iterable[Sequence], *, digits: int = 4) -> list[str]:
    """A line for each of ``rows``, the titles first: names to the left, all else to the right; None is a dash."""
    cells = [['-' if value is None else f'{value:.{digits}f}' if isinstance(value, float) else str(value)
              for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip_longest(*cells, fillvalue='')]
    return [''.join([f'{row[0]:<{widths[0]}}', *(f'  {text:>{width}}' for text, width in zip(row[1:], widths[1:]))])
            .rstrip() for row in cells]


def absent_text(classes: Sequence[str], counts, what: str) -> str:
    """Which classes do not occur, '' if all do."""
    absent = [name for name, count in zip(classes, counts) if not count]
    return f'{len(absent)} of {len(classes)} classes have no {what} here; their values are NaN and left out of the ' \
           f'means: {listed(absent, 20)}' if absent else ''


def class_table(classes: Sequence[str], true: np.ndarray, areas: Mapping, values: Mapping, metrics: Mapping,
                point: str | None, bounds: np.ndarray | None, table: Rates | None) -> str:
    """One line for each class: positives of known labels, AUROC with its interval, AP, ECE, and rates at ``point``."""
    rows, interval = [['class', 'positives', 'AUROC', '95 % interval', 'AP', 'ECE']], areas['interval']
    for i, name in enumerate(classes):
        count = f'{int((true[:, i] == 1).sum())} of {int((~np.isnan(true[:, i])).sum())}'
        rows.append([name, count, areas['AUROC'][i], _interval(interval.low[i], interval.high[i]), values['AP'][i],
                     values['ECE'][i]])
    if table is not None:
        rows[0] += ['threshold', *_RATES[1:5], f' at "{point}"']
        for row, *numbers in zip(rows[1:], bounds, table.precision, table.recall, table.specificity, table.f1):
            row += [f'{numbers[0]:.4g}', *numbers[1:]]
    means = {'AUROC_mean': ('mean', [metrics['AP_mean'], metrics['ECE_mean']]),
             'AUROC_mean_findings': ('of findings', [])}
    for key, (name, rest) in means.items():
        if key in metrics:
            rows.append([name, '', metrics[key], _interval(metrics[f'{key}_low'], metrics[f'{key}_high']), *rest])
    return '\n'.join(text_table(rows))


def point_table(metrics: Mapping, points: Mapping, at: Mapping[str, Rates], use: np.ndarray) -> str:
    """Two lines for each operating point: rates averaged over classes (macro) and
    pooled (micro), and where the mean precision is over fewer classes than ``use``
    (C,): a class in which nothing is called positive has none.
    """
    if not points:
        return ''
    lines = text_table([['operating point', *_RATES], *(
        [f'{name} {kind}', *(metrics[f'{rate}_{kind}@{name}'] for rate in _RATES)]
        for name in points for kind in ('macro', 'micro'))])
    defined = {name: int((use & ~np.isnan(at[name].precision)).sum()) for name in points}
    fewer = [f'{number} of {use.sum()} at "{name}"' for name, number in defined.items() if number < use.sum()]
    lines += [f'macro precision is over the classes in which something was called positive: {", ".join(fewer)}'
              ] if fewer else []
    return '\n'.join(lines)


def _interval(low: float, high: float) -> str:
    return '-' if np.isnan(low) else f'{low:.4f}-{high:.4f}'
