"""Image lists for classification: a metadata CSV and a label2id JSON.

Faults are told by line of the CSV, the header being line 1.
"""
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrdet.core.csv_text import CsvTable, read_table, whole_number
from cxrdet.core.errors import ConfigError, DataError, did_you_mean
from cxrdet.core.issues import DataTable, Place
from cxrdet.core.paths import name_fault
from cxrdet.core.splits import grouped_split
from cxrdet.datasets.formats.coco import load_json
from cxrdet.datasets.formats.files import add_image, tell_missing, tell_outside

COLUMNS = {'path': ('path',), 'label': ('label',), 'split': ('split',),
           'group': ('group', 'patient', 'patient_id', 'Patient ID'), 'view': ('view', 'View Position')}
"""What is looked for, and what the column may be called, unless the caller says it."""
SPLITS = ('train', 'val', 'test')
_NEEDED = ('path', 'label')


@dataclass
class CsvRow:
    """One row: its line in the file, the path as the file is called, the class id, and split and group where given."""

    line: int
    path: str
    label: int
    split: str | None = None
    group: str | None = None


def recognises(path: Path) -> bool:
    """A ``.csv`` file, or a folder with one."""
    return any(path.glob('*.csv')) if path.is_dir() else path.suffix.lower() == '.csv'


def read(path: Path, images: Path | None = None, *, classes: Sequence[str] | None = None,
         columns: Mapping[str, str | None] | None = None, splits: Sequence[str] = SPLITS) -> DataTable:
    """A table with the columns ``path`` and ``label``, and ``split``, ``group`` (``patient_id``) and ``view`` if given.

    Args:
        path: The table; or its folder, with ``metadata.csv`` or a single ``.csv``.
        images: What the paths are relative to, by default the table's folder.
        classes: Names of the classes; by default those of ``label2id.json`` beside the table, else
            all that occur.
        columns: What the columns are called, where :data:`COLUMNS` do not hold; ``None`` as a name:
            not looked at.
        splits: The values that the split column may hold.

    Raises: DataError if there is no such table, or it lacks a column; ConfigError if ``columns``
    has an unknown key.
    """
    file = _find_table(path) if path.is_dir() else path
    folder = file.parent if images is None else images
    content = read_table(file, [name for names in COLUMNS.values() for name in names] + list((columns or {}).values()),
                         what='metadata file')
    places = _places(file, content.header, columns)
    table = DataTable('csv', source={'file': file, 'folder': str(folder), 'columns': places})
    for line, text in content.faults:
        table.tell('error', 'bad_row', text, Place(str(file), f'line {line}'))
    if not content.rows and not content.faults:
        table.tell('error', 'no_images', 'there is a header, but no row below it', Place(str(file)))
    if classes is None:
        beside = file.parent / 'label2id.json'
        if beside.is_file():
            classes = table.attempt(read_label2id, beside, code='bad_classes')
        else:
            table.tell('warning', 'no_class_list', 'there is no such file, the classes and their numbers; here the '
                       'classes are all that occur, sorted, but cxrdet.CSVImageDataset needs it', Place(str(beside)))
    labels = [unicodedata.normalize('NFC', cells[places['label']]) for _, cells in content.rows]
    labels = [label if label in (classes or ()) else whole_number(label) for label in labels]
    table.classes = tuple(classes or ()) or tuple(sorted(set(labels) - {''}))
    kept = _read_rows(table, content, labels, places, splits)
    ids = {name: number for number, name in enumerate(table.classes)}
    numbers = np.array([ids.get(label, -1) for label in kept], np.int64)
    table.labels = numbers[:, None] == np.arange(len(table.classes))
    tops = {Path(name).parts[0] if len(Path(name).parts) > 1 else '.' for name in table.names if not name_fault(name)}
    table.folders = sorted(str(Path(folder, top)) for top in tops)
    table.finish(np.full((len(kept), 2), np.nan))
    return table


def read_rows(path: str | Path, classes: Sequence[str], *, columns: Mapping[str, str | None] | None = None,
              splits: Sequence[str] = SPLITS, split: str | None = None, folder: str | Path | None = None,
              roots: Sequence[str | Path] | None = ()) -> list[CsvRow]:
    """The rows of a metadata CSV, for training: :func:`read`, of which every error is raised.

    Args:
        path, classes, columns, splits: As of :func:`read`. ``split`` and ``group`` need not be in
            the file, unless they are named in ``columns``.
        split: Look for the images of this split only; ``None``, or no split column: for all of
            them.
        folder: What the paths are relative to; ``None``: the images are not looked for.
        roots: Folders besides that the paths may lead to, by ".." or absolute; ``None``: anywhere.

    Returns: all rows in the order of the file; ``split`` and ``group`` are ``None`` where there is
    no such column.

    Raises:
        ConfigError: ``columns`` has an unknown key.
        DataError: The file cannot be read, lacks a column or has no row; or rows are faulty or
            their images missing, all of them counted and the first ten named by line.
    """
    table = read(Path(path), None if folder is None else Path(folder), classes=classes, columns=columns, splits=splits)
    given = table.source['columns']
    if folder is not None:
        tell_outside(table, [*(roots or ()), folder], allowed=roots is None)
        tell_missing(table, (row for row, name in enumerate(table.splits)
                             if split is None or 'split' not in given or name == split))
    table.raise_errors()
    numbers = np.asarray(table.labels).argmax(axis=1)
    return [CsvRow(place.number, name, int(label), own if 'split' in given else None,
                   group if 'group' in given else None)
            for place, name, label, own, group in zip(table.places, table.names, numbers,
                                                      table.splits, table.groups)]


def read_label2id(path: str | Path) -> tuple[str, ...]:
    """Read ``{"name": id, …}`` and return the names in the order of their ids.

    Raises: DataError if it is no such file, a name occurs twice or is empty, or the ids are not
    exactly 0 … n-1.
    """
    pairs = [(unicodedata.normalize('NFC', name), number) for name, number in _json_pairs(path)]
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


def split_rows(rows: Sequence[CsvRow], shares: Mapping[str, float], *, seed: int = 0) -> list[str]:
    """Deal rows out into parts: groups stay whole, each class is spread in the same shares, whatever the order of the
    rows; see :func:`cxrdet.core.splits.grouped_split`.

    Args:
        rows: with ``group``, or without: then each image for itself.
        shares: name of a part -> its share, e.g. ``{'train': 0.8, 'val': 0.2}``.
        seed: of the draw.

    Returns: the name of the part of each row. Raises DataError if there are too few groups.
    """
    groups = [row.path if row.group is None else row.group for row in rows]
    parts = grouped_split([row.label for row in rows], groups, list(shares.values()), seed=seed)
    names = list(shares)
    return [names[part] for part in parts]


def balanced_choice(labels: Sequence[int] | np.ndarray, number: int, *, seed: int = 0) -> list[int]:
    """Positions, sorted, of ``number`` samples with the labels (N,), drawn in turns from the classes, so that these
    are as equal as can be; all if there are no more. A greater number holds the samples of a
    smaller one. ``seed`` is of the draw within each class.
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


def _find_table(folder: Path) -> Path:
    files = sorted(folder.glob('*.csv'))
    if (folder / 'metadata.csv') in files or len(files) == 1:
        return folder / 'metadata.csv' if (folder / 'metadata.csv') in files else files[0]
    raise DataError(f'{folder}: expected metadata.csv or a single .csv file, found {len(files)}. Name the one that is '
                    'meant.')


def _places(path: Path, header: list[str], columns: Mapping[str, str | None] | None) -> dict[str, int]:
    named = dict(columns or {})
    for key in named:
        if key not in COLUMNS:
            raise ConfigError(f'columns has the unknown key "{key}", expected {", ".join(COLUMNS)}.'
                              f'{did_you_mean(key, COLUMNS)}')
    places = {}
    for key, names in COLUMNS.items():
        wanted = (named[key], ) if key in named else names
        found = next((name for name in wanted if name in header), None)
        if found is not None:
            places[key] = header.index(found)
        elif key in _NEEDED or named.get(key) is not None:
            raise DataError(f'{path}: no column "{wanted[0]}" for the {key}.{did_you_mean(str(wanted[0]), header)} The '
                            f'header has: {", ".join(header):.200}. Name it with columns=dict({key}=...).')
    return places


def _read_rows(table: DataTable, content: CsvTable, labels: list[str], places: dict[str, int],
               splits: Sequence[str]) -> list[str]:
    file, folder, kept = table.source['file'], table.source['folder'], []
    for (line, cells), label in zip(content.rows, labels):
        values = {key: cells[place] for key, place in places.items()}
        place, split = Place(str(file), f'line {line}', line), values.get('split')
        if not values['path']:
            table.tell('error', 'bad_row', f'the cell "{content.header[places["path"]]}" is empty', place)
            continue
        row = add_image(table, folder, values['path'], place, split=split or '',
                        group=whole_number(values.get('group', '')), view=values.get('view', ''))
        kept.append(label)
        for code, text in _cell_faults(values, label, table.classes, splits):
            table.tell_image('error', code, text, row)
    return kept


def _cell_faults(values: Mapping[str, str], label: str, classes: Sequence[str],
                 splits: Sequence[str]) -> Iterator[tuple[str, str]]:
    if not label:
        yield 'no_label', 'the cell of the label is empty'
    elif label not in classes:
        yield 'unknown_label', f'label "{label}" is no class of the label2id file.{did_you_mean(label, classes)}'
    split = values.get('split')
    if split is not None and split not in splits:
        yield 'unknown_split', f'unknown split "{split}", expected {" or ".join(splits)}.{did_you_mean(split, splits)}'
    if values.get('group') == '':
        yield 'no_group', 'the cell of the group (patient) is empty'


def _json_pairs(path: str | Path) -> list[tuple[str, Any]]:
    pairs = load_json(path, 'label2id file', object_pairs_hook=_Pairs)
    if not isinstance(pairs, _Pairs) or not pairs:
        raise DataError(f'{path}: expected an object like {{"normal": 0, "abnormal": 1}}, got {pairs!r:.60}')
    return list(pairs)


class _Pairs(list):
    """A JSON object as a list of pairs: a dict would lose repeated names."""
