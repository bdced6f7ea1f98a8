"""What a switch changed where it was measured: evidence.csv, written by ``make docs`` from the tables of the model zoo.

A line is the :func:`cxrdet.core.paired.paired_difference` of a row that advice cites from the baseline of its table.
"""
import csv
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name('evidence.csv')


class Evidence(NamedTuple):
    """One metric of a measured switch."""

    table: str  # of the model zoo
    row: str  # of the table
    data: str  # on which it was measured, in words
    metric: str  # name of the metric; more is better
    change: float  # mean difference
    low: float | None  # ends of its interval, None for one run or two
    high: float | None
    runs: int  # number of them


@functools.cache
def _read() -> dict[tuple[str, str], tuple[Evidence, ...]]:
    found: dict[tuple[str, str], tuple[Evidence, ...]] = {}
    with FILE.open(encoding='utf-8', newline='') as file:
        for line in csv.DictReader(file):
            low, high = (float(line[end]) if line[end] else None for end in ('low', 'high'))
            entry = Evidence(line['table'], line['row'], line['data'], line['metric'], float(line['change']), low, high,
                             int(line['runs']))
            found[entry[:2]] = (*found.get(entry[:2], ()), entry)
    return found


def evidence_for(table: str, row: str) -> tuple[Evidence, ...]:
    """The evidence of a row, its main metric first; none where it is not measured."""
    return _read().get((table, row), ())


def worth(found: Sequence[Evidence]) -> tuple[int, float]:
    """A key that sorts switches from the best to the worst."""
    verdict = _verdict(found)
    return verdict, -found[0].change if verdict else 0.


def tell(found: Sequence[Evidence]) -> str:
    """The evidence in words: 'made things worse on 779 chest films: AUROC -0.066 (-0.126 to -0.006)'."""
    if not found:
        return ''
    verdict = {-1: 'helped on', 0: 'made no sure difference on', 1: 'made things worse on'}[_verdict(found)]
    numbers = ', '.join(f'{entry.metric} {entry.change:+.3f}' + (
        '' if entry.low is None else f' ({entry.low:+.3f} to {entry.high:+.3f})') for entry in found)
    few = {1: ' in a single run', 2: ' in two runs'}.get(found[0].runs, '')
    return f'{verdict} {found[0].data}: {numbers}{few}'


def _verdict(found: Sequence[Evidence]) -> int:
    if any(entry.high is not None and entry.high < 0 for entry in found):
        return 1
    return -1 if any(entry.low is not None and entry.low > 0 for entry in found) else 0
