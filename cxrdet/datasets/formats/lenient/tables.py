"""CSV sets for classification, read to the end whatever is wrong in them."""
import json
from pathlib import Path

import numpy as np

from cxrdet.core.errors import DataError, did_you_mean
from cxrdet.core.files import read_text
from cxrdet.core.issues import DataTable, Finding, Place
from cxrdet.core.paths import name_fault
from cxrdet.datasets.formats.files import read_rows

SPLITS = ('train', 'val', 'test')
GROUPS = ('group', 'patient', 'patient_id', 'Patient ID')
VIEWS = ('view', 'View Position')


def recognises(path: Path) -> bool:
    """A ``.csv`` file, or a folder with one."""
    return any(path.glob('*.csv')) if path.is_dir() else path.suffix.lower() == '.csv'


def read_csv_set(path: Path, images: Path | None = None) -> DataTable:
    """A table with the columns ``path`` and ``label``, and ``split``, ``group`` (``patient_id``) and ``view`` if given.

    Beside it may lie ``label2id.json``; without it all labels that occur are classes. ``path`` is relative to the
    table's folder.

    Raises:
        DataError: There is no such table, or it lacks a column.
    """
    file = path if path.is_file() else _find_table(path)
    table = DataTable('csv', source={})
    header, rows = read_rows(file, table.findings)
    column = {name: position for position, name in enumerate(header)}
    for name in ('path', 'label'):
        if name not in column:
            raise DataError(f'{file}: no column "{name}".{did_you_mean(name, header)} The header has: '
                            f'{", ".join(header):.120}.')
    classes = _read_classes(file.parent / 'label2id.json', table.findings)
    table.classes = classes or tuple(sorted({cells[column['label']].strip() for _, cells in rows} - {''}))
    folder = images or file.parent
    folders, numbers = set(), {name: number for number, name in enumerate(table.classes)}
    labels = []
    for line, cells in rows:
        values = {name: cells[column[name]].strip() if name in column else '' for name in ('path', 'label', 'split')}
        if not values['path']:
            table.findings.append(Finding('error', 'bad_row', 'the cell "path" is empty', str(file), f'line {line}'))
            continue
        image = len(table.names)
        table.names.append(values['path'])
        table.files.append(str(folder / values['path']))
        table.splits.append(values['split'])
        table.groups.append(_first(cells, column, GROUPS))
        table.views.append(_first(cells, column, VIEWS))
        table.places.append(Place(str(file), f'line {line}', line))
        labels.append(numbers.get(values['label'], -1))
        if not name_fault(values['path']):
            folders.add(Path(values['path']).parts[0] if len(Path(values['path']).parts) > 1 else '.')
        _tell(table, values, labels[-1], image, 'split' in column)
    table.labels = np.array([[label == k for k in range(len(table.classes))] for label in labels],
                            bool).reshape(len(labels), -1)
    table.sizes = np.full((len(labels), 2), np.nan)
    table.folders = sorted(str(folder / name) for name in folders)
    table.source = {'file': file, 'folder': str(folder)}
    return table


def _tell(table: DataTable, values: dict[str, str], label: int, image: int, has_split: bool) -> None:
    if label < 0:
        code, text = ('unknown_label', f'label "{values["label"]}" is no class of label2id.json.'
                      f'{did_you_mean(values["label"], table.classes)}') if values['label'] else (
            'no_label', f'"{values["path"]}" has no label')
        table.findings.append(table.about_image('error', code, text, image))
    if has_split and values['split'] not in SPLITS:
        table.findings.append(table.about_image(
            'error', 'unknown_split', f'split "{values["split"]}" is none of {", ".join(SPLITS)}.'
            f'{did_you_mean(values["split"], SPLITS)}', image))


def _find_table(folder: Path) -> Path:
    files = sorted(folder.glob('*.csv'))
    if (folder / 'metadata.csv') in files or len(files) == 1:
        return folder / 'metadata.csv' if (folder / 'metadata.csv') in files else files[0]
    raise DataError(f'{folder}: expected metadata.csv or a single .csv file, found {len(files)}. Name the one that is '
                    'meant.')


def _read_classes(path: Path, findings: list[Finding]) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    try:
        pairs = json.loads(read_text(path))
        if not isinstance(pairs, dict) or not all(isinstance(value, int) for value in pairs.values()):
            raise ValueError('expected an object of names and whole numbers')
    except (DataError, ValueError) as error:
        findings.append(Finding('error', 'bad_classes', f'not readable: {error}', str(path)))
        return ()
    if sorted(pairs.values()) != list(range(len(pairs))):
        findings.append(Finding('error', 'bad_classes', f'the ids of {len(pairs)} classes must be 0 to '
                                f'{len(pairs) - 1}, each once, got {sorted(pairs.values())!s:.80}', str(path)))
    return tuple(sorted(pairs, key=pairs.get))


def _first(cells: list[str], column: dict[str, int], names: tuple[str, ...]) -> str:
    return next((cells[column[name]].strip() for name in names if name in column), '')
