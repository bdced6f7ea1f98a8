"""Image lists for classification: a metadata CSV and a label2id JSON, read strictly.

No framework in here. Faults of a file are gathered and told together, by line of the CSV as an editor counts them (the
header is line 1), so that one look mends them all.
"""
import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from json import JSONDecodeError, loads
from pathlib import Path

import numpy as np

from cxrdet.core.csv_text import read_csv
from cxrdet.core.errors import ConfigError, DataError, did_you_mean
from cxrdet.core.files import read_text
from cxrdet.core.paths import is_outside
from cxrdet.core.splits import grouped_split

__all__ = ['COLUMNS', 'CsvRow', 'balanced_choice', 'read_label2id', 'read_rows', 'split_rows']

COLUMNS = {'path': 'path', 'label': 'label', 'split': 'split', 'group': 'group'}
_NEEDED = ('path', 'label')
_SHOWN = 10


@dataclass
class CsvRow:
    """One row: its line in the file, the path as it stands there, the class id, and split and group where given."""

    line: int
    path: str
    label: int
    split: str | None = None
    group: str | None = None


def read_label2id(path: str | Path) -> tuple[str, ...]:
    """Read ``{"name": id, …}`` and return the names in the order of their ids.

    Raises:
        DataError: the file is missing or no such JSON, a name occurs twice or is empty, or the ids are not exactly
            0 … n-1.
    """
    pairs = _json_pairs(path)
    names = [name for name, _ in pairs]
    for name, number in pairs:
        if not name.strip() or name != name.strip():
            raise DataError(f'{path}: class names must be given and without blanks at their ends, got {name!r}.')
        if isinstance(number, bool) or not isinstance(number, int):
            raise DataError(f'{path}: "{name}" has the id {number!r:.40}, expected a whole number.')
        if names.count(name) > 1:
            raise DataError(f'{path}: the class "{name}" stands in it twice.')
    ids = sorted(number for _, number in pairs)
    if ids != list(range(len(ids))):
        raise DataError(f'{path}: the ids of {len(ids)} classes must be 0 to {len(ids) - 1}, each once, got '
                        f'{", ".join(map(str, ids)):.120}.')
    return tuple(name for name, _ in sorted(pairs, key=lambda pair: pair[1]))


def read_rows(path: str | Path, classes: Sequence[str], *, columns: Mapping[str, str] | None = None,
              splits: Sequence[str] = ('train', 'val', 'test'), split: str | None = None,
              folder: str | Path | None = None, roots: Sequence[str | Path] | None = ()) -> list[CsvRow]:
    """Read a metadata CSV: a header, then one image a row. Commas, UTF-8; empty lines are skipped.

    Args:
        path: the file.
        classes: the names of the classes; the id of a label is its place among them.
        columns: what the columns ``path``, ``label``, ``split`` and ``group`` are called; those left out go by these
            very names. ``split`` and ``group`` need not be in the file, unless they are named here. ``None`` as a name:
            the column is not looked at.
        splits: the values that the split column may hold.
        split: look for the images of this split only; ``None``, or no split column: for all of them.
        folder: what the paths are relative to; ``None``: the images are not looked for.
        roots: folders besides that the paths may lead to, by ".." or absolute; ``None``: anywhere.

    Returns: all rows in the order of the file; ``split`` and ``group`` are ``None`` where there is no such column.

    Raises:
        ConfigError: ``columns`` has an unknown key.
        DataError: the file cannot be read, lacks a column or has no row; or rows are faulty, all of them counted and
            the first ten named by line: too few or too many cells, an empty cell, a label or split that is not known, a
            path that leads out or stood there before, a group that stands in two splits, an image that is not there or
            is empty.
    """
    header, body = _read_table(path)
    places = _places(path, header, columns)
    faults: list[tuple[int, str]] = []
    rows: list[CsvRow] = []
    ids = {name: number for number, name in enumerate(classes)}
    for line, cells in body:
        if len(cells) != len(header):
            faults.append((line, f'{len(cells)} cells, but the header has {len(header)}'))
            continue
        values = {key: cells[place] for key, place in places.items()}
        wrong = _cell_faults(values, {key: header[place] for key, place in places.items()}, ids, splits)
        faults += [(line, text) for text in wrong]
        rows.append(CsvRow(line, values['path'], ids.get(values['label'], -1), values.get('split'),
                           values.get('group')))
    faults += _repeated(rows, folder) + _torn_groups(rows)
    if folder is not None:
        faults += _file_faults((row for row in rows if split is None or row.split in (None, split)), folder, roots)
    _raise_faults(path, faults)
    if not rows:
        raise DataError(f'{path}: there is a header, but no row below it.')
    return rows


def split_rows(rows: Sequence[CsvRow], shares: Mapping[str, float], *, seed: int = 0) -> list[str]:
    """Deal rows out into parts: groups stay whole, each class is spread in the same shares, see
    :func:`cxrdet.core.splits.grouped_split`. The result does not depend on the order of the rows.

    Args:
        rows: with ``group``, or without: then each image for itself.
        shares: name of a part -> its share, e.g. ``{'train': 0.8, 'val': 0.2}``.
        seed: of the draw.

    Returns: the name of the part of each row.

    Raises: DataError if there are too few groups.
    """
    groups = [row.path if row.group is None else row.group for row in rows]
    parts = grouped_split([row.label for row in rows], groups, list(shares.values()), seed=seed)
    names = list(shares)
    return [names[part] for part in parts]


def balanced_choice(labels: Sequence[int], number: int, *, seed: int = 0) -> list[int]:
    """Positions of ``number`` samples, drawn in turns from the classes, so that these are as equal as can be.

    A greater number holds the samples of a smaller one. Positions are sorted; all of them if ``number`` is too great.

    Args:
        labels: (N,) class ids.
        number: how many, at least 0.
        seed: of the draw within each class.
    """
    labels = np.asarray(labels)
    rng = np.random.default_rng(seed)
    mixed = rng.permutation(len(labels))
    turn = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        mine = mixed[labels[mixed] == label]
        turn[mine] = np.arange(len(mine))
    order = mixed[np.argsort(turn[mixed], kind='stable')]
    return sorted(order[:number].tolist())


def _file_faults(rows: Iterable[CsvRow], folder: str | Path,
                 roots: Sequence[str | Path] | None) -> list[tuple[int, str]]:
    faults = []
    for row in rows:
        file = os.path.join(folder, row.path)
        if roots is not None and is_outside(row.path, folder, [root for root in roots if root]):
            faults.append((row.line, f'the path "{row.path}" leads out of {next(filter(None, roots), folder)}; set '
                                     'allow_outside=True in the data set if that is meant'))
            continue
        try:
            empty = os.stat(file).st_size == 0
        except (OSError, ValueError):  # ValueError: a zero byte in the path
            faults.append((row.line, f'no such image file: {file}'))
            continue
        if empty:
            faults.append((row.line, f'the image file is empty (0 bytes): {file}'))
        elif os.path.isdir(file):
            faults.append((row.line, f'a folder, not an image file: {file}'))
    return faults


def _raise_faults(path: str | Path, faults: Sequence[tuple[int, str]]) -> None:
    """Raise DataError for faults (line, words), if there are any: their number and the first ten."""
    if not faults:
        return
    shown = [f'  line {line}: {text}' for line, text in sorted(faults)[:_SHOWN]]
    more = [f'  … and {len(faults) - _SHOWN} more'] if len(faults) > _SHOWN else []
    count = f'{len(faults)} fault{"s" if len(faults) > 1 else ""}'
    raise DataError('\n'.join([f'{path}: {count}. Mend the file, or take the rows out:', *shown, *more]))


def _json_pairs(path: str | Path) -> list[tuple[str, object]]:
    """The pairs of the one object in a JSON file, repeated names included."""
    text = _text(path, 'label2id file')
    try:
        pairs = loads(text, object_pairs_hook=_Pairs)
    except JSONDecodeError as error:
        raise DataError(f'{path}: invalid JSON at line {error.lineno}, column {error.colno}: {error.msg}.') from None
    except (RecursionError, ValueError) as error:
        raise DataError(f'{path}: invalid JSON: {error}.') from None
    if not isinstance(pairs, _Pairs) or not pairs:
        raise DataError(f'{path}: expected an object like {{"normal": 0, "abnormal": 1}}, got {text.strip():.60}')
    return list(pairs)


class _Pairs(list):
    """A JSON object as a list of pairs: a dict would lose repeated names."""


def _text(path: str | Path, what: str) -> str:
    text = read_text(path, what)
    if not text.strip():
        raise DataError(f'{path}: the {what} is empty ({len(text)} characters).')
    return text


def _read_table(path: str | Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header, and the other rows with the lines they begin in."""
    reader = read_csv(_text(path, 'metadata file'), strict=True)
    table, line = [], 1
    try:
        for cells in reader:
            if cells:
                table.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f'{path}: line {line}: not readable as CSV: {error}.') from None
    header = table[0][1]
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise DataError(f'{path}: line {table[0][0]}: the header names the column "{repeated[0]}" twice.')
    return header, table[1:]


def _places(path: str | Path, header: list[str], columns: Mapping[str, str] | None) -> dict[str, int]:
    """Position of each column that is to be read."""
    named = dict(columns or {})
    for key in named:
        if key not in COLUMNS:
            raise ConfigError(f'columns has the unknown key "{key}", expected {", ".join(COLUMNS)}.'
                              f'{did_you_mean(key, COLUMNS)}')
    places = {}
    for key, default in COLUMNS.items():
        name = named.get(key, default)
        if name is None and key not in _NEEDED:
            continue
        if name in header:
            places[key] = header.index(name)
        elif key in _NEEDED or key in named:
            semicolon = ' The file seems to be separated by semicolons: write commas.' if ';' in header[0] else ''
            raise DataError(f'{path}: no column "{name}" for the {key}.{did_you_mean(str(name), header)} The header '
                            f'has: {", ".join(header):.200}. Name it with columns=dict({key}=...).{semicolon}')
    return places


def _cell_faults(values: dict[str, str], names: dict[str, str], ids: Mapping[str, int],
                 splits: Sequence[str]) -> list[str]:
    faults = [f'the cell "{names[key]}" is empty' for key, value in values.items() if not value.strip()]
    label, split = values['label'], values.get('split')
    if label.strip() and label not in ids:
        faults.append(f'label "{label}" is no class of the label2id file.{did_you_mean(label, ids)}')
    if split is not None and split.strip() and split not in splits:
        faults.append(f'unknown split "{split}", expected {" or ".join(splits)}.{did_you_mean(split, splits)}')
    return faults


def _repeated(rows: Iterable[CsvRow], folder: str | Path | None) -> list[tuple[int, str]]:
    first: dict[str, CsvRow] = {}
    faults = []
    for row in (row for row in rows if row.path.strip()):
        before = first.setdefault(os.path.abspath(os.path.join(folder or '', row.path)), row)
        if before is not row:
            faults.append((row.line, f'the path "{row.path}" stands in line {before.line} already'))
    return faults


def _torn_groups(rows: Iterable[CsvRow]) -> list[tuple[int, str]]:
    """One fault for every group that stands in two splits, at the line where that is seen first."""
    first: dict[str, CsvRow] = {}
    torn: dict[str, tuple[int, str]] = {}
    for row in rows:
        if row.split is None or not (row.group or '').strip():
            continue
        before = first.setdefault(row.group, row)
        if before.split != row.split and row.group not in torn:
            torn[row.group] = (row.line, f'the group "{row.group}" is in the split "{row.split}" here and in '
                                         f'"{before.split}" in line {before.line}')
    return list(torn.values())
