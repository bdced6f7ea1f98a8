"""The tables of NIH ChestX-ray14: findings by film, lists of the official split, boxes, and where the films lie.

Format: the files that the NIH Clinical Center publishes beside the images of Wang et al., "ChestX-ray8: Hospital-scale
Chest X-ray Database and Benchmarks on Weakly-Supervised Classification and Localization of Common Thorax Diseases",
CVPR 2017. Of the table of films there are two releases, ``Data_Entry_2017.csv`` and ``Data_Entry_2017_v2020.csv``. Both
write some columns' names with a comma that is not quoted (``OriginalImage[Width,Height]``), so that they take two
cells, as their values do; copies of the first end each line with a comma, and give ages as ``058Y``.
"""
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cxrdet.core import csv_text
from cxrdet.core.classification.labels import NO_FINDING
from cxrdet.core.errors import DataError, did_you_mean
from cxrdet.core.issues import DataTable, Finding, Place, raise_errors
from cxrdet.datasets.formats.files import files_below, images_by_name
from cxrdet.datasets.formats.table_builder import as_number
from cxrdet.datasets.formats.voc import list_names

NIH_FINDINGS = ('Cardiomegaly', 'Emphysema', 'Effusion', 'Hernia', 'Nodule', 'Pneumothorax', 'Atelectasis',
                'Pleural_Thickening', 'Mass', 'Edema', 'Consolidation', 'Infiltration', 'Fibrosis', 'Pneumonia')
NIH_CLASSES = (*NIH_FINDINGS, NO_FINDING)
"""The 14 findings and No Finding, in the order in which classifiers are trained here by default."""

BOX_PIXELS = 1024  # the side of the published images, to which the boxes refer
BOX_FINDINGS = {'Infiltrate': 'Infiltration'}  # what the list of boxes calls otherwise
LISTS = {'train_val': 'train_val_list.txt', 'test': 'test_list.txt'}
TABLES = ('Data_Entry_2017_v2020.csv', 'Data_Entry_2017_v2020.csv.gz', 'Data_Entry_2017.csv', 'Data_Entry_2017.csv.gz')
_NAME, _LABELS, _PATIENT = _REQUIRED = ('Image Index', 'Finding Labels', 'Patient ID')
BOX_COLUMNS = (_NAME, 'Finding Label', 'Bbox [x', 'y', 'w', 'h]')
_YEARS = {'Y': 1., 'M': 1 / 12, 'D': 1 / 365.25}
_AGE = re.compile(r'(\d+)([YMD]?)')
_PATIENT_ID = re.compile('[0-9]{1,18}')  # an int64
_IMAGES = re.compile(r'images(_\d+)?')


@dataclass
class NihTable:
    """The table of films, by columns; row k of each is the same film.

    Attributes:
        path: The file.
        names: (N,) file names of the images, as published.
        labels: (N, 15) bool, whether a finding is named, in the order of :data:`NIH_CLASSES`.
        patients: (N,) int64 patient ids.
        follow_ups: (N,) int32 number of the film among the patient's, -1 where it is not given.
        ages: (N,) float32 years, NaN where not given. The first release holds ages up to 414, which are left as given.
        sexes, views: (N,) 'M' or 'F', and 'PA' or 'AP', '' where not given.
        lines: (N,) int32 line of the file.
    """

    path: str
    names: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    follow_ups: np.ndarray
    ages: np.ndarray
    sexes: np.ndarray
    views: np.ndarray
    lines: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: np.ndarray) -> 'NihTable':
        """The table with some of the rows; ``rows`` are numbers or a mask."""
        columns = {key: value[rows] for key, value in vars(self).items() if key != 'path'}
        return NihTable(self.path, **columns)


def recognises(path: Path) -> bool:
    """A table of films, by its name, or a folder with one."""
    return any((path / name).is_file() for name in TABLES) or path.name in TABLES


def read(path: Path, images: Path | None = None) -> DataTable:
    """``Data_Entry_2017*.csv`` with its images, the lists of the official split and the list of boxes, where they are.

    The table holds the films whose image is there; the others are counted in one finding, for parts of the set are
    common. Boxes stay in their 1024 px coordinates.

    Raises:
        DataError: There is no such table, or it lacks a column.
    """
    file = path if path.is_file() else find_table(path)
    folder = images or file.parent
    films, findings = _parse(file)
    listing = {name: paths[0] for name, paths in images_by_name(folder).items()}
    rows = [row for row, name in enumerate(films.names.tolist()) if name in listing]
    there, number = films.take(np.array(rows, np.int64)), {row: k for k, row in enumerate(rows)}
    names = there.names.tolist()
    table = DataTable('nih', NIH_CLASSES, names, [listing[name] for name in names], sizes_of_files=False,
                      folders=[str(folder)], source={'file': file})
    splits = _read_splits(file.parent, table)
    table.splits = [splits.get(name, '') for name in names]
    table.views = there.views.tolist()
    table.groups = [str(patient) if patient >= 0 else '' for patient in there.patients.tolist()]
    table.places = [Place(str(file), f'line {line}', line, name) for line, name in zip(there.lines.tolist(), names)]
    table.findings += [replace(finding, image=number.get(finding.image, -1)) for finding in findings
                       if finding.code != 'image_twice']
    if len(names) < len(films):
        absent = np.setdiff1d(np.arange(len(films)), rows)
        text = f'{len(absent)} of {len(films)} rows name an image that is not there: ' \
               f'{", ".join(films.names[absent[:5]].tolist())}'
        table.tell('info' if names else 'error', 'rows_without_image', text,
                   Place(str(file), f'line {films.lines[absent[0]]}'))
    table.labels = there.labels
    table.finish(np.full((len(names), 2), BOX_PIXELS), *_boxes_beside(file, table))
    return table


def read_table(path: str | Path) -> NihTable:
    """Read ``Data_Entry_2017.csv`` or ``Data_Entry_2017_v2020.csv``, plain or gzipped, for training.

    Raises: DataError if it is no such table, or something is wrong with its rows, which are named by their line.
    """
    films, findings = _parse(path)
    raise_errors(findings)
    return films


def _parse(path: str | Path) -> tuple[NihTable, list[Finding]]:
    """The films of a table, and what is wrong with it; ``image`` of a finding is the row of its film."""
    rows, column, findings = _rows(path, _REQUIRED)
    if not rows and not findings:
        findings.append(Finding('error', 'no_images', 'there is a header, but no film below it. Is the file torn?',
                                str(path)))
    name_at, labels_at, patient_at = (column[name] for name in _REQUIRED)
    seen: dict[str, int] = {}
    patterns: dict[str, tuple[int, list[tuple[str, str]]]] = {}
    films, pattern, patients = [], [], []
    for line, row in rows:
        name, text, patient = row[name_at], row[labels_at], csv_text.whole_number(row[patient_at])
        faults = []
        if not name:
            findings.append(_at(path, line, 'bad_row', f'names no image (column "{_NAME}")'))
            continue
        if seen.setdefault(name, line) != line:
            faults.append(('image_twice', f'repeats {name}, which line {seen[name]} has already'))
        if not _PATIENT_ID.fullmatch(patient):
            faults.append(('no_patient', f'{_PATIENT} must be a number of at most 18 digits, got "{patient}". Without '
                           'the patient, films of one patient may come to stand on both sides of a split'))
        if text not in patterns:
            patterns[text] = len(patterns), _finding_faults(text)
        findings += [_at(path, line, code, words, name, image=len(films))
                     for code, words in faults + patterns[text][1]]
        films.append((line, row))
        pattern.append(patterns[text][0])
        patients.append(int(patient) if _PATIENT_ID.fullmatch(patient) else -1)
    kinds = np.array([[name in text.split('|') for name in NIH_CLASSES] for text in patterns], bool)
    follow_ups, ages, sexes, views = _optional_columns(path, films, column, findings)
    return NihTable(str(path), np.array([row[name_at] for _, row in films], str),
                    kinds.reshape(-1, len(NIH_CLASSES))[np.array(pattern, np.int64)], np.array(patients, np.int64),
                    follow_ups, ages, sexes, views, np.array([line for line, _ in films], np.int32)), findings


def _at(path: str | Path, line: int, code: str, text: str, name: str | None = None, *, image: int = -1) -> Finding:
    return Finding('error', code, text, str(path), f'line {line}', name, image=image)


def _optional_columns(path, films: list[tuple[int, tuple[str, ...]]], column: dict[str, int],
                      findings: list[Finding]) -> tuple[np.ndarray, ...]:
    def cells(*names: str) -> list[str]:
        at = next((column[name] for name in names if name in column), None)
        return [''] * len(films) if at is None else [row[at] for _, row in films]

    def numbers(name: str, convert: Callable[[str], float | None], dtype: type) -> np.ndarray:
        known: dict[str, float] = {}
        for image, text in enumerate(texts := cells(name)):
            if text not in known:
                value = convert(csv_text.whole_number(text))
                if value is None:
                    findings.append(_at(path, films[image][0], 'bad_cell', f'{name} cannot be "{text}"', image=image))
                known[text] = -1 if value is None else value
        return np.array([known[text] for text in texts], dtype)

    follow_ups = numbers('Follow-up #', lambda text: int(text) if text.isdecimal() else None if text else -1, np.int32)
    return (follow_ups, numbers('Patient Age', read_age, np.float32), np.array(cells('Patient Gender', 'Patient Sex')),
            np.array(cells('View Position')))


def read_age(text: str) -> float | None:
    """Years of ``'58'``, ``'058Y'``, ``'011M'`` (months) or ``'003D'`` (days); NaN of ``''``, None of anything else."""
    match = _AGE.fullmatch(text)
    if match:
        return int(match[1]) * _YEARS[match[2] or 'Y']
    return None if text else float('nan')


def _boxes_beside(file: Path, table: DataTable) -> tuple[list, list, list]:
    file = file.parent / 'BBox_List_2017.csv'
    rows, column, findings = (table.attempt(lambda path: _rows(path, BOX_COLUMNS), file) if file.is_file() else None
                              ) or ([], {}, [])
    table.findings += findings
    images = {name: row for row, name in enumerate(table.names)}
    boxes, owners, labels = [], [], []
    for line, row in rows:
        name, called, *texts = (row[column[key]] for key in BOX_COLUMNS)
        finding, image = BOX_FINDINGS.get(called) or called, images.get(name, -1)
        x, y, w, h = map(as_number, texts)
        for applies, code, text in (
                (finding not in NIH_FINDINGS, 'unknown_category', f'unknown finding "{finding}".'
                 f'{did_you_mean(finding, NIH_FINDINGS)}'),
                (not (np.isfinite([x, y]).all() and 0 < w < np.inf and 0 < h < np.inf), 'bad_box',
                 f'expected a box x, y, w, h with w and h above 0, got {", ".join(texts)}')):
            if applies:
                table.tell('error', code, text, Place(str(file), f'line {line}', line, name), image=image,
                           box=-1 if image < 0 else len(boxes))
        if image >= 0:
            boxes.append((x, y, x + w, y + h))
            owners.append(image)
            labels.append(NIH_CLASSES.index(finding) if finding in NIH_CLASSES else -1)
            table.box_places.append(Place(str(file), f'line {line}', line))
    if len(boxes) < len(rows):
        table.tell('info', 'boxes_without_image', f'{len(rows) - len(boxes)} of {len(rows)} boxes are for images that '
                   'are not there', Place(str(file)))
    return boxes, owners, labels


def _read_splits(folder: Path, table: DataTable) -> dict[str, str]:
    splits: dict[str, str] = {}
    for split, name in LISTS.items():
        file = folder / name
        names, findings = (table.attempt(list_names, file) if file.is_file() else None) or ({}, [])
        table.findings += findings
        for image, line in names.items():
            if splits.setdefault(image, split) != split:
                table.tell('error', 'listed_in_both', f'"{image}" stands in {LISTS["train_val"]} too',
                           Place(str(file), f'line {line}', line, image))
    return splits


def find_table(folder: str | Path) -> Path:
    """The table of films in a folder: the newer release before the older, plain before gzipped.

    Raises:
        DataError: There is none.
    """
    for name in TABLES:
        if Path(folder, name).is_file():
            return Path(folder, name)
    raise DataError(f'{folder}: no table of films. Expected one of {", ".join(TABLES)}, or name it by ann_file.')


def find_images(folder: str | Path) -> dict[str, str]:
    """Paths of image files (PNG, JPEG) by name: those in ``folder`` and, one within another, in ``images``,
    ``images_001`` …

    Raises: DataError if there is no such folder, or a name occurs twice.
    """
    if not os.path.isdir(folder):
        raise DataError(f'{folder}: no such folder of images. Check data_root and data_prefix.')
    found: dict[str, str] = {}
    for path in files_below(folder, ('.png', '.jpg', '.jpeg'), enter=_IMAGES.fullmatch):
        name = os.path.basename(path)
        if found.setdefault(name, path) != path:
            raise DataError(f'{name} is there twice: {found[name]} and {path}. Remove one, or name the folder that is '
                            'meant by data_prefix.')
    return found


def _finding_faults(text: str) -> list[tuple[str, str]]:
    names = text.split('|') if text else []
    unknown = next((name for name in names if name not in NIH_CLASSES), None)
    faults = []
    if not names:
        faults.append(('no_label', f'no finding is given; a film without any is marked "{NO_FINDING}"'))
    if unknown is not None:
        faults.append(('unknown_label', f'unknown finding "{unknown}".{did_you_mean(unknown, NIH_CLASSES)} There are '
                       f'{", ".join(NIH_CLASSES)}, joined by "|"'))
    if len(set(names)) < len(names):
        faults.append(('label_twice', f'a finding is named twice in "{text}"'))
    if NO_FINDING in names and len(set(names)) > 1:
        faults.append(('contradiction', f'"{NO_FINDING}" cannot stand beside a finding, got "{text}"'))
    return faults


def _rows(path: str | Path, required: Sequence[str]) -> tuple[list[tuple[int, tuple[str, ...]]], dict[str, int],
                                                              list[Finding]]:
    header, rows, faults = csv_text.read_table(path, required)
    column = {name: k for k, name in enumerate(header)}
    missing = [name for name in required if name not in column]
    if missing:
        raise DataError(f'{path}: the header has no column {", ".join(map(repr, missing))}.'
                        f'{did_you_mean(missing[0], header)} It begins with "{",".join(header)[:80]}".')
    return rows, column, [_at(path, line, 'bad_row', text) for line, text in faults]
