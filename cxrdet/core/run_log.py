"""Records of a run from the log that MMEngine's LoggerHook writes, for runs without cxrdet.HistoryHook."""
import json
import os
from collections.abc import Sequence

from cxrdet.core.errors import DataError
from cxrdet.core.history import number

_NO_LOSS = {'lr', 'base_lr', 'data_time', 'time', 'epoch', 'iter', 'step', 'memory', 'grad_norm'}


def read_logs(paths: Sequence[str | os.PathLike]) -> list[dict]:
    """Records as :mod:`cxrdet.core.history` has them, an epoch each, from ``vis_data/scalars.json`` of a run.

    The losses of a record are means over the lines of its epoch, whose values MMEngine
    has smoothed over the last iterations. Runs that count iterations, not epochs, get a
    record a validation. Of ``paths``, in the order of time, a later one replaces what
    it holds again.

    Raises: DataError if a line is no JSON, or there is no line of training.
    """
    training: dict[int, dict[int, dict]] = {}
    validation: dict[int, dict] = {}
    by_epoch = True
    for path in paths:
        for line in _lines(path):
            if 'loss' in line and 'iter' in line:
                by_epoch = by_epoch and 'epoch' in line
                training.setdefault(line.get('epoch', 0), {})[line['iter']] = line
            elif 'step' in line and 'loss' not in line:
                validation[line['step']] = line
    if not training:
        raise DataError(f'{", ".join(map(str, paths))}: no line of training, with "loss" and "iter", in this log.')
    if not by_epoch:
        training = _between(training, sorted(validation))
    return [_record(where, lines, validation.get(where), by_epoch) for where, lines in sorted(training.items())]


def _lines(path: str | os.PathLike) -> list[dict]:
    with open(path, encoding='utf-8') as stream:
        try:
            return [json.loads(line) for line in stream if line.strip()]
        except ValueError as error:
            raise DataError(f'{path}: expected one JSON object a line, as MMEngine logs: {error}') from error


def _between(training: dict[int, dict[int, dict]], steps: Sequence[int]) -> dict[int, dict[int, dict]]:
    """Lines of training by the validation that follows them; those after the last by the last iteration."""
    lines = {step: line for part in training.values() for step, line in part.items()}
    groups: dict[int, dict[int, dict]] = {}
    for step, line in lines.items():
        where = next((end for end in steps if end >= step), max(lines))
        groups.setdefault(where, {})[step] = line
    return groups


def _record(where: int, lines: dict[int, dict], validation: dict | None, by_epoch: bool) -> dict:
    last = lines[max(lines)]
    names = [name for name in last if name not in _NO_LOSS and not name.startswith('lr/')]
    record = {**({'epoch': where} if by_epoch else {}), 'iter': last.get('step', last['iter']),
              'train': {name: number(sum(line.get(name, 0.) for line in lines.values()) / len(lines))
                        for name in names}, 'lr': {'all': last['lr']} if 'lr' in last else {}}
    if validation is not None:
        record['val'] = {name: number(value) for name, value in validation.items() if name not in _NO_LOSS}
    return record
