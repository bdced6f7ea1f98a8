"""The tables of NIH ChestX-ray14: findings by film, lists of the official split, boxes, and where the films lie.

Format: the files that the NIH Clinical Center publishes beside the images of Wang et al., "ChestX-ray8: Hospital-scale
Chest X-ray Database and Benchmarks on Weakly-Supervised Classification and Localization of Common Thorax Diseases",
CVPR 2017. Of the table of films there are two releases, ``Data_Entry_2017.csv`` and ``Data_Entry_2017_v2020.csv``. Both
write some columns' names with a comma that is not quoted (``OriginalImage[Width,Height]``), so that they take two
cells, as their values do; copies of the first end each line with a comma, and give ages as ``058Y``.
"""
import csv
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrdet.core.classification.labels import NO_FINDING
from cxrdet.core.csv_text import read_csv
from cxrdet.core.errors import DataError, did_you_mean
from cxrdet.core.files import read_text

NIH_FINDINGS = ('Cardiomegaly', 'Emphysema', 'Effusion', 'Hernia', 'Nodule', 'Pneumothorax', 'Atelectasis',
                'Pleural_Thickening', 'Mass', 'Edema', 'Consolidation', 'Infiltration', 'Fibrosis', 'Pneumonia')
NIH_CLASSES = (*NIH_FINDINGS, NO_FINDING)
"""The 14 findings and No Finding, in the order in which classifiers are trained here by default."""

BOX_PIXELS = 1024  # the side of the published images, to which the boxes refer
BOX_FINDINGS = {'Infiltrate': 'Infiltration'}  # what the list of boxes calls otherwise
TABLES = ('Data_Entry_2017_v2020.csv', 'Data_Entry_2017_v2020.csv.gz', 'Data_Entry_2017.csv', 'Data_Entry_2017.csv.gz')
_NAME, _LABELS, _PATIENT = _REQUIRED = ('Image Index', 'Finding Labels', 'Patient ID')
_BOX_COLUMNS = (_NAME, 'Finding Label', 'Bbox [x', 'y', 'w', 'h]')
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


@dataclass
class NihBox:
    """A box of the published list: image, finding, and xyxy in pixels of the 1024 px image; ``line`` of the file."""

    name: str
    finding: str
    box: tuple[float, float, float, float]
    line: int


def read_table(path: str | Path) -> NihTable:
    """Read ``Data_Entry_2017.csv`` or ``Data_Entry_2017_v2020.csv``, plain or gzipped.

    Raises:
        DataError: The file is missing, torn, no such table or holds no film; or a row lacks its image, its findings or
            its patient, names a finding that the set does not have, names No Finding beside a finding, or repeats an
            image. Rows are named by their line.
    """
    lines, rows, column = _read_csv(path, _REQUIRED)
    if not rows:
        raise DataError(f'{path}: there is a header, but no film below it. Is the file torn?')
    name_at, labels_at, patient_at = (column[name] for name in _REQUIRED)
    seen: dict[str, int] = {}
    patterns: dict[str, int] = {}
    pattern, patients = np.empty(len(rows), np.int32), np.empty(len(rows), np.int64)
    for k, (line, row) in enumerate(zip(lines, rows)):
        name, findings, patient = row[name_at].strip(), row[labels_at].strip(), row[patient_at].strip()
        if not name or seen.setdefault(name, line) != line:
            raise DataError(f'{path}: line {line} repeats {name}, which line {seen[name]} has already. Remove one.'
                            if name else f'{path}: line {line} names no image (column "{_NAME}").')
        if not _PATIENT_ID.fullmatch(patient):
            raise DataError(f'{path}: line {line} ({name}): {_PATIENT} must be a number of at most 18 digits, got '
                            f'"{patient}". Without the patient, films of one patient may come to stand on both sides '
                            'of a split.')
        if findings not in patterns:
            _check_findings(findings, f'{path}: line {line} ({name})')
            patterns[findings] = len(patterns)
        patients[k] = int(patient)
        pattern[k] = patterns[findings]
    kinds = np.array([[name in findings.split('|') for name in NIH_CLASSES] for findings in patterns], bool)
    follow_ups, ages, sexes, views = _optional_columns(path, lines, rows, column)
    return NihTable(str(path), np.array(list(seen)), kinds.reshape(-1, len(NIH_CLASSES))[pattern], patients, follow_ups,
                    ages, sexes, views, np.array(lines, np.int32))


def _optional_columns(path, lines: list[int], rows: list[tuple[str, ...]],
                      column: dict[str, int]) -> tuple[np.ndarray, ...]:
    """Follow-up, age, sex and view of each row, empty where the table has no such column."""
    def cells(*names: str) -> list[str]:
        at = next((column[name] for name in names if name in column), None)
        return [''] * len(rows) if at is None else [row[at].strip() for row in rows]

    def numbers(name: str, texts: list[str], convert, dtype) -> np.ndarray:
        known: dict[str, float] = {}
        for line, text in zip(lines, texts):
            if text not in known:
                known[text] = convert(text)
                if known[text] is None:
                    raise DataError(f'{path}: line {line}: {name} cannot be "{text}".')
        return np.array([known[text] for text in texts], dtype)

    ages = numbers('Patient Age', cells('Patient Age'), read_age, np.float32)
    follow_ups = numbers('Follow-up #', cells('Follow-up #'),
                         lambda text: int(text) if text.isdecimal() else None if text else -1, np.int32)
    return follow_ups, ages, np.array(cells('Patient Gender', 'Patient Sex')), np.array(cells('View Position'))


def read_age(text: str) -> float | None:
    """Years of ``'58'``, ``'058Y'``, ``'011M'`` (months) or ``'003D'`` (days); NaN of ``''``, None of anything else."""
    match = _AGE.fullmatch(text)
    if match:
        return int(match[1]) * _YEARS[match[2] or 'Y']
    return None if text else float('nan')


def read_boxes(path: str | Path) -> list[NihBox]:
    """Read ``BBox_List_2017.csv``: boxes of eight findings, x, y, w, h at 1024 px; "Infiltrate" becomes Infiltration.

    Raises:
        DataError: The file is missing or no such list, a finding is unknown, or a box has no area or is not finite.
    """
    lines, rows, column = _read_csv(path, _BOX_COLUMNS)
    boxes = []
    for line, row in zip(lines, rows):
        name, finding, *texts = (row[column[key]].strip() for key in _BOX_COLUMNS)
        finding = BOX_FINDINGS.get(finding, finding)
        if finding not in NIH_FINDINGS:
            raise DataError(f'{path}: line {line} ({name}): unknown finding "{finding}".'
                            f'{did_you_mean(finding, NIH_FINDINGS)}')
        try:
            x, y, w, h = map(float, texts)
        except ValueError:
            x = y = w = h = float('nan')
        if not (np.isfinite([x, y]).all() and 0 < w < np.inf and 0 < h < np.inf):
            raise DataError(f'{path}: line {line} ({name}): expected a box x, y, w, h with w and h above 0, got '
                            f'{", ".join(texts)}.')
        boxes.append(NihBox(name, finding, (x, y, x + w, y + h), line))
    return boxes


def scale_boxes(boxes: Sequence[NihBox], height: int, width: int) -> np.ndarray:
    """Boxes of the published list on an image of another size: (N, 4) float32 xyxy, absolute pixels, not clipped.

    Args:
        boxes: Of one image, in pixels of its 1024 px form.
        height, width: Of the image at hand, which shows the whole film.
    """
    scale = np.array([width, height, width, height], np.float64) / BOX_PIXELS
    return (np.array([box.box for box in boxes], np.float64).reshape(-1, 4) * scale).astype(np.float32)


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
    """Image files by name: those in ``folder`` and, one within another, in ``images``, ``images_001`` … ``images_012``.

    Returns:
        File name -> path, of all PNG and JPEG files; empty if there are none.

    Raises:
        DataError: There is no such folder, or a name occurs twice.
    """
    if not os.path.isdir(folder):
        raise DataError(f'{folder}: no such folder of images. Check data_root and data_prefix.')
    found: dict[str, str] = {}
    for path in _image_paths(str(folder), depth=3):
        name = os.path.basename(path)
        if found.setdefault(name, path) != path:
            raise DataError(f'{name} is there twice: {found[name]} and {path}. Remove one, or name the folder that is '
                            'meant by data_prefix.')
    return found


def _image_paths(folder: str, depth: int) -> Iterator[str]:
    with os.scandir(folder) as entries:
        entries = sorted(entries, key=lambda entry: entry.name)
    for entry in entries:
        if _IMAGES.fullmatch(entry.name) and entry.is_dir():
            if depth:
                yield from _image_paths(entry.path, depth - 1)
        elif entry.name.lower().endswith(('.png', '.jpg', '.jpeg')):
            yield entry.path


def _check_findings(text: str, where: str) -> None:
    names = text.split('|')
    for name in names:
        if name not in NIH_CLASSES:
            raise DataError(f'{where}: unknown finding "{name}".{did_you_mean(name, NIH_CLASSES)} The findings are '
                            f'{", ".join(NIH_CLASSES)}, joined by "|".' if text else f'{where}: no finding is given; a '
                            f'film without any is marked "{NO_FINDING}".')
    if len(set(names)) < len(names):
        raise DataError(f'{where}: a finding is named twice in "{text}".')
    if NO_FINDING in names and len(names) > 1:
        raise DataError(f'{where}: "{NO_FINDING}" cannot stand beside a finding, got "{text}".')


def _read_csv(path: str | Path, required: Sequence[str]) -> tuple[list[int], list[tuple[str, ...]], dict[str, int]]:
    """Line numbers and cells of all rows but the header, and the position of each column by its name."""
    reader = read_csv(read_text(path, 'table'))
    lines, rows = [], []
    try:
        header = [name.strip() for name in next(reader, [])]
        while header and not header[-1]:
            header.pop()
        column = {name: k for k, name in enumerate(header)}
        missing = [name for name in required if name not in column]
        if missing:
            raise DataError(f'{path}: the header has no column {", ".join(map(repr, missing))}.'
                            f'{did_you_mean(missing[0], header)} It begins with "{",".join(header)[:80]}".')
        for row in reader:
            if row:
                if len(row) != len(header) and (len(row) < len(header) or any(row[len(header):])):
                    raise DataError(f'{path}: line {reader.line_num} has {len(row)} cells, the header {len(header)}.')
                lines.append(reader.line_num)
                rows.append(tuple(row))  # the garbage collector does not go through tuples of strings again and again
    except csv.Error as error:
        raise DataError(f'{path}: line {reader.line_num} is no line of a CSV table: {error}.') from None
    return lines, rows, column
