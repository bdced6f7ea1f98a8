"""NIH ChestX-ray14 and sets laid out like it, read to the end whatever is wrong in them."""
import os
from pathlib import Path

import numpy as np

from cxrdet.core.classification.labels import NO_FINDING
from cxrdet.core.errors import DataError, did_you_mean
from cxrdet.core.files import read_text
from cxrdet.core.issues import DataTable, Finding, Place
from cxrdet.datasets.formats.files import image_paths, read_rows
from cxrdet.datasets.formats.nih import BOX_FINDINGS, BOX_PIXELS, NIH_CLASSES, TABLES, find_table

LISTS = {'train_val': 'train_val_list.txt', 'test': 'test_list.txt'}


def recognises(path: Path) -> bool:
    """A table of films, by its name, or a folder with one."""
    return any((path / name).is_file() for name in TABLES) or path.name in TABLES


def read_nih_set(path: Path, images: Path | None = None) -> DataTable:
    """``Data_Entry_2017*.csv`` with its images, the lists of the official split and the list of boxes, where they are.

    The table holds the films whose image is there; the others are counted in one finding, for parts of the set are
    common. Boxes stay in their 1024 px coordinates.

    Raises:
        DataError: There is no such table, or it lacks a column.
    """
    file = path if path.is_file() else find_table(path)
    folder = images or file.parent
    table = DataTable('nih', NIH_CLASSES, sizes_of_files=False, folders=[str(folder)], source={'file': file})
    header, rows = read_rows(file, table.findings)
    column = {name: position for position, name in enumerate(header)}
    missing = [name for name in ('Image Index', 'Finding Labels', 'Patient ID') if name not in column]
    if missing:
        raise DataError(f'{file}: the header has no column "{missing[0]}".{did_you_mean(missing[0], header)}')
    listing: dict[str, str] = {}
    for image in image_paths(folder):
        listing.setdefault(os.path.basename(image), image)
    splits = _read_splits(file.parent, table)
    labels, absent = [], []
    for line, cells in rows:
        name = cells[column['Image Index']].strip()
        if name not in listing:
            absent.append((line, name))
            continue
        patient = cells[column['Patient ID']].strip()
        table.names.append(name)
        table.files.append(listing[name])
        table.splits.append(splits.get(name, ''))
        table.groups.append(patient)
        table.views.append(cells[column['View Position']].strip() if 'View Position' in column else '')
        table.places.append(Place(str(file), f'line {line}', line, name))
        labels.append(_labels(table, cells[column['Finding Labels']].strip()))
        if not patient:
            table.findings.append(table.about_image('error', 'no_patient', f'"{name}" has no patient',
                                                    len(labels) - 1))
    if absent:
        text = f'{len(absent)} of {len(rows)} rows name an image that is not there: ' \
               f'{", ".join(name for _, name in absent[:5])}'
        table.findings.append(Finding('info' if table.names else 'error', 'rows_without_image', text, str(file),
                                      f'line {absent[0][0]}'))
    table.labels = np.array(labels, bool).reshape(len(labels), len(NIH_CLASSES))
    table.sizes = np.full((len(labels), 2), float(BOX_PIXELS))
    _read_boxes(table, file.parent / 'BBox_List_2017.csv')
    return table


def _labels(table: DataTable, text: str) -> list[bool]:
    image = len(table.names) - 1
    names = text.split('|') if text else []
    unknown = [name for name in names if name not in NIH_CLASSES]
    for code, applies, words in (
            ('no_label', not names, f'no finding is given; a film without any is marked "{NO_FINDING}"'),
            ('unknown_label', bool(unknown), f'unknown finding "{unknown[0] if unknown else ""}".'
             f'{did_you_mean(unknown[0], NIH_CLASSES) if unknown else ""}'),
            ('label_twice', len(set(names)) < len(names), f'a finding is named twice in "{text}"'),
            ('contradiction', NO_FINDING in names and len(set(names)) > 1, f'"{NO_FINDING}" beside a finding in '
             f'"{text}"')):
        if applies:
            table.findings.append(table.about_image('error', code, words, image))
    return [name in names for name in NIH_CLASSES]


def _read_splits(folder: Path, table: DataTable) -> dict[str, str]:
    """Name -> split; a name that stands in both lists is told."""
    splits: dict[str, str] = {}
    for split, name in LISTS.items():
        if not (folder / name).is_file():
            continue
        try:
            lines = read_text(folder / name).splitlines()
        except DataError as error:
            table.findings.append(Finding('error', 'unreadable_annotations', str(error), str(folder / name)))
            continue
        for number, line in enumerate(lines, 1):
            image = line.strip()
            if image and splits.setdefault(image, split) != split:
                table.findings.append(Finding(
                    'error', 'listed_in_both', f'"{image}" stands in {LISTS["train_val"]} too', str(folder / name),
                    f'line {number}', image))
    return splits


def _read_boxes(table: DataTable, file: Path) -> None:
    if not file.is_file():
        return
    header, rows = read_rows(file, table.findings)
    column = {name: position for position, name in enumerate(header)}
    keys = ('Image Index', 'Finding Label', 'Bbox [x', 'y', 'w', 'h]')
    if any(key not in column for key in keys):
        table.findings.append(Finding('error', 'unreadable_annotations', f'expected the columns {", ".join(keys)}',
                                      str(file)))
        return
    images = {name: row for row, name in enumerate(table.names)}
    numbers = {name: number for number, name in enumerate(NIH_CLASSES)}
    boxes, image, label, absent = [], [], [], 0
    for line, cells in rows:
        name, finding, *texts = (cells[column[key]].strip() for key in keys)
        if name not in images:
            absent += 1
            continue
        values = [_number(text) for text in texts]
        place = Place(str(file), f'line {line}', line)
        x, y, w, h = values
        boxes.append((x, y, x + w, y + h))
        image.append(images[name])
        label.append(numbers.get(BOX_FINDINGS.get(finding, finding), -1))
        table.box_places.append(place)
        for code, applies, text in (('unknown_category', label[-1] < 0, f'unknown finding "{finding}"'),
                                    ('bad_box', not np.isfinite(values).all(), f'expected four numbers, got {texts}')):
            if applies:
                table.findings.append(Finding('error', code, text, str(file), place.row, image=image[-1],
                                              box=len(boxes) - 1))
    if absent:
        table.findings.append(Finding('info', 'boxes_without_image', f'{absent} of {len(rows)} boxes are for images '
                                      'that are not there', str(file)))
    table.boxes = np.array(boxes, np.float64).reshape(-1, 4)
    table.box_image, table.box_label = np.array(image, np.int64), np.array(label, np.int64)
    table.crowd = np.zeros(len(boxes), bool)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float('nan')
