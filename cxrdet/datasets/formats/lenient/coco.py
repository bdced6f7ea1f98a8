"""COCO detection sets, read to the end whatever is wrong in them."""
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from cxrdet.core.errors import DataError, did_you_mean
from cxrdet.core.issues import DataTable, Finding, Place
from cxrdet.datasets.formats.coco import load_json

GROUP_KEYS = ('patient_id', 'patient', 'group')
VIEW_KEYS = ('view', 'view_position', 'View Position')


def recognises(path: Path) -> bool:
    """A ``.json`` file, or a folder with ``annotations/*.json`` or ``annotations*.json``."""
    return bool(coco_files(path)) if path.is_dir() else path.suffix.lower() == '.json'


def read_coco_set(path: Path, images: Path | None = None) -> DataTable:
    """One COCO file, or all of ``annotations/*.json`` in a folder (else ``annotations*.json``); a file is a split.

    An image entry may name its patient (``patient_id``) and its view (``view``).

    Raises:
        DataError: No file can be read as COCO.
    """
    files = coco_files(path)
    table = DataTable('coco', source={})
    contents = {}
    for file in files:
        try:
            content = load_json(file)
            if not isinstance(content, dict) or not isinstance(content.get('images'), list):
                raise DataError(f'{file}: expected a COCO file, an object with a list "images".')
            contents[file] = content
        except DataError as error:
            table.findings.append(Finding('error', 'unreadable_annotations', str(error), str(file)))
    if not contents:
        raise DataError('; '.join(finding.text for finding in table.findings) or f'{path}: no COCO file.')
    table.source = contents
    categories = {file: _categories(content, str(file), table.findings) for file, content in contents.items()}
    _settle_classes(table, categories)
    rows = _Rows()
    for file, content in contents.items():
        folder = images or image_folder(file)
        if str(folder) not in table.folders:
            table.folders.append(str(folder))
        ids = _read_images(table, rows, content, file, folder)
        _read_annotations(table, rows, content, file, ids, categories[file])
    table.sizes = np.array(rows.sizes, np.float64).reshape(-1, 2)
    table.boxes = np.array(rows.boxes, np.float64).reshape(-1, 4)
    table.box_image, table.box_label = np.array(rows.image, np.int64), np.array(rows.label, np.int64)
    table.crowd = np.array(rows.crowd, bool)
    return table


def coco_files(path: Path) -> list[Path]:
    """The annotation files of a COCO set: the file itself, or those of a folder."""
    if path.is_file():
        return [path]
    return sorted((path / 'annotations').glob('*.json')) or sorted(path.glob('annotations*.json'))


def image_folder(file: Path) -> Path:
    """Where the images of an annotation file lie: ``images/`` beside it or beside its folder, else its own folder."""
    for folder in (file.parent / 'images', file.parent.parent / 'images'):
        if folder.is_dir():
            return folder
    return file.parent


class _Rows:
    """Columns under way, as lists."""

    def __init__(self) -> None:
        self.sizes: list[tuple[float, float]] = []
        self.boxes: list[Iterable[float]] = []
        self.image: list[int] = []
        self.label: list[int] = []
        self.crowd: list[bool] = []


def _categories(content: dict, file: str, findings: list[Finding]) -> dict[Any, str]:
    names: dict[Any, str] = {}
    entries = content.get('categories')
    if not isinstance(entries, list) or not entries:
        findings.append(Finding('error', 'bad_category', 'the file has no list "categories"', file))
        return names
    for number, entry in enumerate(entries):
        key, name = (entry.get('id'), entry.get('name')) if isinstance(entry, dict) else (None, None)
        text = ''
        if not _is_id(key) or not isinstance(name, str) or not name.strip():
            text = f'a category needs an "id" and a "name", got {entry!r:.80}'
        elif key in names:
            text = f'category id {key!r} is used twice, for "{names[key]}" and "{name}"'
        elif name in names.values():
            text = f'two categories are named "{name}"'
        if text:
            findings.append(Finding('error', 'bad_category', text, file, f'categories[{number}]', _plain(key)))
        if _is_id(key) and key not in names and isinstance(name, str):
            names[key] = name
    return names


def _settle_classes(table: DataTable, categories: dict[Path, dict[Any, str]]) -> None:
    """The classes of all files in the order of the first; a file that names others is told."""
    first, *others = categories.items()
    classes = list(dict.fromkeys(name for _, name in sorted(first[1].items(), key=lambda item: str(item[0]).zfill(9))))
    for file, names in others:
        for name in names.values():
            if name not in classes:
                table.findings.append(Finding(
                    'error', 'classes_differ', f'class "{name}" is not among those of {first[0].name}.'
                    f'{did_you_mean(name, classes)}', str(file)))
                classes.append(name)
    table.classes = tuple(classes)


def _read_images(table: DataTable, rows: _Rows, content: dict, file: Path, folder: Path) -> dict[Any, int]:
    """Append the images of a file; id -> row of the table (the first, where an id is used twice)."""
    ids: dict[Any, int] = {}
    for number, entry in enumerate(content['images']):
        row = f'images[{number}]'
        key, name = (entry.get('id'), entry.get('file_name')) if isinstance(entry, dict) else (None, None)
        if not _is_id(key) or not isinstance(name, str) or not name:
            table.findings.append(Finding('error', 'bad_image', f'an image needs an "id" and a "file_name", got '
                                          f'{entry!r:.80}', str(file), row, _plain(key)))
            continue
        sides = [_number(entry.get(side)) for side in ('height', 'width')]
        if any(entry.get(side) is not None and not sides[k] >= 0 for k, side in enumerate(('height', 'width'))):
            table.findings.append(Finding('error', 'bad_size', f'"{name}" states the size {entry.get("width")!r} x '
                                          f'{entry.get("height")!r}', str(file), row, key))
        ids.setdefault(key, len(table.names))
        table.names.append(name)
        table.files.append(str(folder / name))
        table.splits.append(file.stem)
        table.groups.append(_first(entry, GROUP_KEYS))
        table.views.append(_first(entry, VIEW_KEYS))
        table.places.append(Place(str(file), row, number, key))
        rows.sizes.append(tuple(side if side > 0 else math.nan for side in sides))
    return ids


def _read_annotations(table: DataTable, rows: _Rows, content: dict, file: Path, ids: dict[Any, int],
                      categories: dict[Any, str]) -> None:
    labels = {name: number for number, name in enumerate(table.classes)}
    entries = content.get('annotations')
    if not isinstance(entries, list):
        table.findings.append(Finding('error', 'unreadable_annotations', 'the file has no list "annotations"',
                                      str(file)))
        return
    for number, entry in enumerate(entries):
        entry = entry if isinstance(entry, dict) else {}
        box = len(rows.boxes)
        key, image_id, category, bbox = (entry.get(name) for name in ('id', 'image_id', 'category_id', 'bbox'))
        values = [_number(value) for value in bbox] if isinstance(bbox, list) and len(bbox) == 4 else [math.nan] * 4
        x, y, w, h = values
        rows.boxes.append((x, y, x + w, y + h))
        rows.image.append(ids.get(image_id, -1) if _is_id(image_id) else -1)
        rows.label.append(labels.get(categories.get(category), -1) if _is_id(category) else -1)
        rows.crowd.append(bool(entry.get('iscrowd')))
        table.box_places.append(Place(str(file), f'annotations[{number}]', number, _plain(key)))
        for code, text in _faults(key, image_id, category, bbox, values, rows.image[box], rows.label[box], categories):
            place = table.box_places[box]
            table.findings.append(Finding('error', code, text, place.file, place.row, place.id, image=rows.image[box],
                                          box=box))


def _faults(key, image_id, category, bbox, values, image: int, label: int,
            categories: dict) -> Iterable[tuple[str, str]]:
    """(code, text) of what is wrong with one annotation, apart from its geometry."""
    if not _is_id(key):
        yield 'no_annotation_id', f'the annotation has no id ({key!r:.40})'
    if image < 0:
        yield 'unknown_image', f'the annotation has the image_id {image_id!r:.40}, which the file lacks'
    if category is None:
        yield 'no_category', 'the annotation has no category_id'
    elif label < 0:
        yield 'unknown_category', f'the annotation has the category_id {category!r:.40}; there are ' \
                                  f'{", ".join(map(repr, categories)):.80}'
    if not all(map(math.isfinite, values)):
        yield 'bad_box', f'expected a bbox of four numbers, got {bbox!r:.80}'


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    """An id that can be looked up; None for what is none."""
    return value if _is_id(value) else None


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def _first(entry: dict, keys: Iterable[str]) -> str:
    return next((str(entry[key]).strip() for key in keys if entry.get(key) not in (None, '')), '')
