"""The record of a training run, as ``history.json`` holds it, and what is best in it.

The file is a list of records, one an epoch (in iteration-based runs: one a validation)::

    {"epoch": 3, "iter": 120,                      done by then; iteration-based runs have no epoch
     "train": {"loss": 0.41, "accuracy": 0.8},      means over the iterations of the record
     "val": {"val/loss": 0.5, "coco/bbox_mAP": 0.31},   absent where no validation was due
     "lr": {"backbone": 1e-05, "head": 0.0001},    rates of the last iteration, 0 for frozen parts
     "precision": "float32",                        that the training ran in
     "time": {"train": 61.2, "val": 4.0}}          seconds

NaN and infinite numbers are null, so that every JSON reader takes the file.
"""
import json
import math
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cxrdet.core.errors import DataError

_RULES = ('greater', 'less')
_KINDS = ((None, r'thresholds?|temperature|count|num|undefined'),
          ('less', r'loss|error|err|hamming|ece|brier|nll|mae|mse|rmse'),
          ('greater', r'm?ap\d*|m?ar|auroc|auc|froc|acc|accuracy|top\d+|precision|recall|sensitivity|specificity|f1|'
                      r'm?iou|m?dice|kappa|ppv|npv'))
_MOST_RATES = 32


def number(value: float) -> float | None:
    """A float that JSON can hold: ``None`` for NaN and infinity."""
    value = float(value)
    return value if math.isfinite(value) else None


class Recorder:
    """Collects the numbers of a run into ``records``, which :func:`to_json` writes."""

    def __init__(self) -> None:
        self.records: list[dict] = []
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._seconds, self._since = 0.0, time.monotonic()

    @property
    def open(self) -> bool:
        """Whether iterations were added since the last record was closed."""
        return bool(self._counts)

    def start_clock(self) -> None:
        """What follows counts for the record, or the validation, that ends next."""
        self._since = time.monotonic()

    def add(self, values: Mapping[str, float]) -> None:
        """Add the losses of one iteration, and its accuracy, NaN where the batch had no label."""
        for name, value in values.items():
            if name == 'accuracy' and math.isnan(value):
                continue
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def close(self, *, iteration: int, epoch: int | None, rates: Mapping[str, float],
              precision: str | None = None) -> None:
        """End a record; ``rates`` are those of all parameters, which :func:`named_rates` shortens."""
        self._stop_clock()
        self.records.append({
            **({} if epoch is None else {'epoch': epoch}), 'iter': iteration,
            'train': {name: number(total / self._counts[name]) for name, total in self._sums.items()},
            'lr': named_rates(rates), **({} if precision is None else {'precision': precision}),
            'time': {'train': round(self._seconds, 3)}})
        self._sums, self._counts, self._seconds = {}, {}, 0.0

    def add_validation(self, metrics: Mapping[str, float]) -> None:
        """Put the metrics into the last record."""
        record = self.records[-1]
        record['val'] = {name: number(value) for name, value in metrics.items()}
        record['time']['val'] = round(time.monotonic() - self._since, 3)
        self.start_clock()

    def state(self) -> dict:
        """Plain data from which :meth:`load` goes on."""
        if self.open:
            self._stop_clock()
        return dict(records=self.records, sums=self._sums, counts=self._counts, seconds=self._seconds)

    def load(self, state: Mapping) -> None:
        self.records, self._seconds = list(state['records']), state['seconds']
        self._sums, self._counts = dict(state['sums']), dict(state['counts'])
        self.start_clock()

    def _stop_clock(self) -> None:
        self._seconds += time.monotonic() - self._since
        self.start_clock()


def to_json(records: Sequence[Mapping]) -> str:
    """One record a line."""
    lines = ',\n'.join(json.dumps(record, allow_nan=False) for record in records)
    return f'[\n{lines}\n]\n'


def read_history(path: str | os.PathLike) -> list[dict]:
    """Read ``history.json``, or that of a work folder; DataError if there is none, or the file is none."""
    path = Path(path)
    file = path / 'history.json' if path.is_dir() else path
    if not file.is_file():
        raise DataError(f'{file}: no such file. Expected the work folder of a run with cxrdet.HistoryHook, or its '
                        'history.json.')
    try:
        records = json.loads(file.read_text(encoding='utf-8'))
    except ValueError as error:
        raise DataError(f'{file}: no valid JSON: {error}') from error
    if not isinstance(records, list) or not all(isinstance(record, dict) and 'iter' in record for record in records):
        raise DataError(f'{file}: expected a list of records, each with the key "iter", as HistoryHook writes it.')
    if not records:
        raise DataError(f'{file}: the run has finished no epoch yet.')
    return records


def scalars(record: Mapping) -> dict[str, float | None]:
    """All values of a record under one name each: ``train/loss``, the metrics as they are called, ``lr/head``."""
    return {**{f'train/{name}': value for name, value in record.get('train', {}).items()}, **record.get('val', {}),
            **{f'lr/{name}': value for name, value in record.get('lr', {}).items()}}


def position(record: Mapping) -> int:
    """Epochs done, or iterations in an iteration-based run."""
    return record.get('epoch', record['iter'])


def series(records: Sequence[Mapping], name: str) -> tuple[list[int], list[float]]:
    """Positions and values of one scalar, without the records that do not have it or where it is null."""
    found = [(position(record), scalars(record).get(name)) for record in records]
    found = [(where, value) for where, value in found if value is not None]
    return [where for where, _ in found], [value for _, value in found]


def better_is(name: str, rules: Mapping[str, str] | None = None) -> str | None:
    """Whether more of a metric is better ('greater'), or less ('less'); ``None`` if the name does not tell.

    A name may end with that of a class (``accuracy/recall_bone loss``), so the first
    word after the prefix decides if it tells; but not in ``train/`` and ``val/``, where
    losses are (``train/iou_loss``). Then any word does. Of ``rules``, part of a name ->
    'greater' or 'less', the longest that is in ``name`` decides before all else.

    ``name`` is e.g. ``coco/bbox_mAP_50``; its words are what stands between ``/ _ - .`` and blanks.
    """
    rules = rules or {}
    fitting = [part for part in rules if part in name]
    if fitting:
        return rules[max(fitting, key=len)]
    words = re.split(r'[^a-z0-9]+', name.lower())
    prefix, slash, rest = name.lower().partition('/')
    leading = [] if prefix in ('train', 'val') else re.split(r'[^a-z0-9]+', rest if slash else prefix)[:1]
    for asked in (leading, words):
        for rule, words_of in _KINDS:
            if any(re.fullmatch(words_of, word) for word in asked):
                return rule
    return None


def summary(records: Sequence[Mapping], *, main: str | None = None, rules: Mapping[str, str] | None = None) -> dict:
    """What ``metrics.json`` holds: of every metric the best value, where it was reached, and the last value.

    ``{'done': {'epoch': 24, 'iter': 960}, 'best': {'metric': main, 'value': 0.5,
    'epoch': 20, 'iter': 800, 'metrics': {...}} or None, 'metrics': {name: {'better':
    'greater' | 'less' | None, 'best': 0.5, 'epoch': 20, 'iter': 800, 'last':
    0.4}}}``. Of equal values the first is the best; where the direction is not known,
    ``best`` is null and has no place.

    Args:
        records: of the run.
        main: the metric by which the best checkpoint is chosen.
        rules: as for :func:`better_is`.
    """
    names = dict.fromkeys(name for record in records for name in scalars(record) if not name.startswith('lr/'))
    metrics = {name: _best(records, name, better_is(name, rules)) for name in names}
    best = None
    if main is not None and metrics.get(main, {}).get('best') is not None:
        found = metrics[main]
        best = {'metric': main, 'value': found['best'], **_place(found)}
        best['metrics'] = next(scalars(record) for record in records if _place(record) == _place(found))
    return {'done': _place(records[-1]) if records else None, 'best': best, 'metrics': metrics}


def _place(entry: Mapping) -> dict[str, int]:
    return {key: entry[key] for key in ('epoch', 'iter') if key in entry}


def _best(records: Sequence[Mapping], name: str, rule: str | None) -> dict:
    having = [(value, record) for record in records if (value := scalars(record).get(name)) is not None]
    entry = {'better': rule, 'best': None}
    if having and rule in _RULES:
        pick = max if rule == 'greater' else min
        value, record = pick(having, key=lambda pair: pair[0])  # the first of equal ones
        entry.update(best=value, **_place(record))
    return {**entry, 'last': having[-1][0] if having else None}


def named_rates(rates: Mapping[str, float]) -> dict[str, float]:
    """Shorten learning rates by parameter (``backbone.layer4.0.conv1.weight``) to those
    of the largest parts that have one rate throughout, in the order of the model:
    ``{'backbone': 1e-5, 'head.fc': 1e-4}``, ``{'all': r}`` where they are equal. More
    than 32 parts become ``{'highest': r, 'lowest': q}``.
    """
    def split(prefix: str, names: list[str]) -> dict[str, float]:
        if len({rates[name] for name in names}) == 1:
            return {prefix or 'all': rates[names[0]]}
        start = len(prefix) + 1 if prefix else 0
        parts: dict[str, list[str]] = {}
        for name in names:
            parts.setdefault(name[:start] + name[start:].split('.')[0], []).append(name)
        return {part: rate for inner, members in parts.items() for part, rate in split(inner, members).items()}

    found = split('', list(rates)) if rates else {}
    return found if len(found) <= _MOST_RATES else {'highest': max(found.values()), 'lowest': min(found.values())}
