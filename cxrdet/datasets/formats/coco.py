"""COCO detection files: read to the end whatever is wrong in them, written whole.

Format: https://cocodataset.org/#format-data (Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014).
What a file needs is ``images`` (``id``, ``file_name``), ``annotations`` (``id``, ``image_id``, ``category_id``,
``bbox`` as x, y, width, height in pixels) and ``categories`` (``id``, ``name``). Ids are numbers (``1.0``, as pandas
writes them, is 1) or texts.
"""
import json
import math
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxrdet.core.csv_text import whole_number
from cxrdet.core.detection.boxes import FARTHEST, xywh_to_xyxy
from cxrdet.core.errors import DataError, did_you_mean
from cxrdet.core.files import read_text
from cxrdet.core.garbage import no_collection
from cxrdet.core.issues import DataTable, Place
from cxrdet.core.paths import name_fault
from cxrdet.datasets.formats.files import add_image, annotation_files, files_below, find_by_name, first_bytes, split_of
from cxrdet.datasets.formats.table_builder import as_flag

_COCO = re.compile(r'^\{.*"(images|annotations)"\s*:\s*\[', re.DOTALL)
_LONG_CLASSES = re.compile(r'^\{.*"categories"\s*:\s*\[.{60000}', re.DOTALL)  # they may come first
_KIND = re.compile('^(instances|person_keypoints)_')
_NO_BOXES = ('captions_', 'person_keypoints_', 'panoptic_', 'stuff_', 'image_info_')
GROUP_KEYS = ('patient_id', 'patient', 'group')
VIEW_KEYS = ('view', 'view_position', 'View Position')


def recognises(path: Path) -> bool:
    """A ``.json`` file, or a folder with ``annotations/*.json``, ``annotations*.json`` or COCO files below."""
    if not path.is_dir():
        return path.suffix.lower() == '.json'
    return bool(_published(path)) or any(map(_is_coco, annotation_files(path, '.json')))


def _published(path: Path) -> list[Path]:
    return sorted((path / 'annotations').glob('*.json')) or sorted(path.glob('annotations*.json'))


def _published_splits(table: DataTable, path: Path) -> dict[Path, str]:
    """Files of ``annotations/`` and their splits; what COCO publishes beside the boxes is told instead."""
    files = _published(path)
    read = [file for file in files if not file.name.startswith(_NO_BOXES)] or files
    for file in files:
        if file not in read:
            table.tell('info', 'other_file', 'no boxes of objects, by its name; it was not read', Place(str(file)))
    return {file: _split_by_name(file.stem) for file in read}


def _split_by_name(stem: str) -> str:
    """``train2017`` and ``Train`` are the split ``train`` behind ``instances_``, ``default`` is none; else the name."""
    name = _KIND.sub('', stem)
    return stem if name == stem else '' if name == 'default' else split_of(f'{name.rstrip("0123456789")}/') or name


def _is_coco(file: str | Path) -> bool:
    text = first_bytes(file, 2 ** 16)
    return bool(_COCO.search(text) or _LONG_CLASSES.search(text))


def _split_of_file(file: Path, root: Path) -> str:
    """Of a file that lies otherwise: the name of its folder or its own, if it is not as tools call all their files."""
    name = file.relative_to(root).as_posix()
    return split_of(name) or split_of(f'{file.stem}/') or (
        '' if file.stem.startswith('_annotations') or file.stem == 'result' else file.stem)


def image_folder(file: Path, names: Iterable[Any] = ()) -> Path:
    """Where the images of an annotation file lie: ``images/`` beside it or beside its folder, its own folder, or a
    folder called as its split in or beside ``images/`` (``val2017`` for ``annotations/instances_val2017.json``).

    The first of these that is there and holds one of ``names``, the first that is there if none does.
    """
    root, split = file.parent.parent, _KIND.sub('', file.stem)
    folders = [file.parent / 'images', root / 'images', file.parent, root / 'images' / split, root / split]
    folders = [folder for folder in folders if folder.is_dir()] or [file.parent]
    return next((folder for folder in folders for name in names if isinstance(name, str) and os.path.isfile(
        folder / name.replace('\\', '/'))), folders[0])


@no_collection()
def read(path: Path, images: Path | None = None) -> DataTable:
    """One COCO file, or all of ``annotations/*.json`` in a folder (else ``annotations*.json``); a file is a split.

    Where there are none of these, all COCO files below the folder are read, as Roboflow writes them
    (``train/_annotations.coco.json``). An image that is not where its entry says is taken from anywhere in the set (or
    in ``images``) if one file alone has its name. An image entry may name its patient (``patient_id``) and its view
    (``view``). Geometry is not judged here.

    Args:
        path: The file or the folder.
        images: Folder of the images, by default :func:`image_folder` of each file.

    Raises:
        DataError: No file can be read as COCO.
    """
    table = DataTable('coco', source={})
    files = _published_splits(table, path) if path.is_dir() else {path: _split_by_name(path.stem)}
    for file in () if files else map(Path, filter(_is_coco, files_below(path, ('.json',)))):
        files[file] = _split_of_file(file, path)
    table.source = {file: content for file in files if (content := table.attempt(_load, file)) is not None}
    if not table.source:
        text = '; '.join(f'{finding.file}: {finding.text}' for finding in table.findings)
        raise DataError(f'{text or f"{path}: no COCO file"}.')
    categories = {file: _categories(table, content, str(file)) for file, content in table.source.items()}
    _settle_classes(table, categories)
    sizes: list[tuple[float, float]] = []
    table.box_entries = []
    columns: list[list] = [[], [], [], []]
    for file, content in table.source.items():
        first = [entry.get('file_name') for entry in content['images'][:10] if isinstance(entry, dict)]
        folder = images or image_folder(file, first)
        if str(folder) not in table.folders:
            table.folders.append(str(folder))
        ids = _read_images(table, sizes, content, file, folder, files[file])
        table.box_entries += _read_annotations(table, columns, content, str(file), ids, categories[file])
    if len(table.folders) > 1:  # whose images may have the same names
        below = (Path(os.path.relpath(file, path)).as_posix().removeprefix('images/') for file in table.files)
        table.names = [name if name_fault(name) else way for name, way in zip(table.names, below)]
    find_by_name(table, images or (path if path.is_dir() else _root(path)))
    table.finish(sizes, xywh_to_xyxy(np.array(columns[0], np.float64).reshape(-1, 4)), *columns[1:])
    return table


def _root(file: Path) -> Path:
    return file.parent.parent if file.parent.name == 'annotations' else file.parent


def load_json(path: str | Path, what: str = 'annotation file', **options) -> Any:
    """Read a JSON file (UTF-8 or UTF-16, with or without byte order mark, gzipped or not).

    Args:
        path: the file.
        what: how it is called in errors.
        **options: of ``json.loads``.

    Raises:
        DataError: the file is missing, a folder, unreadable, empty, or no JSON (with line and column).
    """
    text = read_text(path, what)
    if not text.strip():
        raise DataError(f'{path}: the {what} is empty ({len(text)} bytes).')
    try:
        return json.loads(text, **options)
    except json.JSONDecodeError as error:
        cut = ' The file seems to be cut off.' if error.pos >= len(text.rstrip()) else ''
        where = f'line {error.lineno}, column {error.colno}'
        raise DataError(f'{path}: invalid JSON at {where}: {error.msg}.{cut}') from None
    except RecursionError:
        raise DataError(f'{path}: invalid {what}: nested too deeply.') from None
    except ValueError as error:  # a number with thousands of digits
        raise DataError(f'{path}: invalid {what}: {error}.') from None


def coco_annotation(number: int, image_id: Any, category_id: Any, box: Sequence[float], *, crowd: bool = False) -> dict:
    """The annotation with the id ``number`` of a box (x1, y1, x2, y2) in pixels."""
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    return {'id': number, 'image_id': image_id, 'category_id': category_id, 'bbox': [x1, y1, width, height],
            'area': max(0, width) * max(0, height), 'iscrowd': int(crowd)}


def _load(file: Path) -> dict:
    content = load_json(file)
    if not isinstance(content, dict):
        raise DataError(f'{file}: expected a COCO file (a JSON object), got a {type(content).__name__}.')
    _list(content, 'images', str(file))
    return content


def _list(content: dict, key: str, file: str) -> list:
    entries = content.get(key)
    if not isinstance(entries, list):
        found = ', '.join(f'"{name}"' for name in content) or 'nothing'
        raise DataError(f'{file}: expected a list "{key}" in a COCO file, found {found}.')
    return entries


def _entries(table: DataTable, content: dict, key: str, file: str, code: str) -> Iterable[tuple[Place, dict]]:
    """Place and content of the entries of a list; what is no list, and what in it is no object, is told."""
    entries = table.attempt(lambda name: _list(content, key, name), file, code=code)
    if entries == [] and key != 'annotations':
        table.tell('error', code, f'the list "{key}" is empty', Place(file))
    for number, entry in enumerate(entries or ()):
        if isinstance(entry, dict):
            yield Place(file, f'{key}[{number}]', number, _id(entry, 'id')), entry
        else:
            table.tell('error', code, f'must be an object, got {entry!r:.60}', Place(file, f'{key}[{number}]'))


def _categories(table: DataTable, content: dict, file: str) -> dict[Any, str]:
    names: dict[Any, str] = {}
    for place, entry in _entries(table, content, 'categories', file, 'bad_category'):
        key, name = place.id, entry.get('name')
        name = unicodedata.normalize('NFC', name) if isinstance(name, str) else ''
        text = ''
        if key is None or not name.strip():
            text = f'needs an "id" and a "name", got {entry!r:.120}'
        elif key in names:
            text = f'two categories have the id {key!r} ("{names[key]}" and "{name}")'
        elif name in names.values():
            other = next(other for other in names if names[other] == name)
            text = (f'the categories {other!r} and {key!r} are both named "{name}"; labels go by name, so give them '
                    'different ones or merge them')
        if text:
            table.tell('error', 'bad_category', text, place._replace(id=None))
        if key is not None and name:
            names.setdefault(key, name)
            entry['name'] = name
    return dict(sorted(names.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def _settle_classes(table: DataTable, categories: dict[Path, dict[Any, str]]) -> None:
    first, *others = categories.items()
    classes = list(dict.fromkeys(first[1].values()))
    for file, names in others:
        for name in names.values():
            if name not in classes:
                table.tell('error', 'classes_differ', f'class "{name}" is not among those of {first[0].name}.'
                           f'{did_you_mean(name, classes)}', Place(str(file)))
                classes.append(name)
    table.classes = tuple(classes)


def _read_images(table: DataTable, sizes: list, content: dict, file: Path, folder: Path, split: str) -> dict[Any, int]:
    """Append the images of a file; id -> row of the table (the first, where an id is used twice)."""
    ids: dict[Any, int] = {}
    for place, entry in _entries(table, content, 'images', str(file), 'bad_image'):
        name = entry.get('file_name')
        if place.id is None or not isinstance(name, str) or not name:
            table.tell('error', 'bad_image', f'needs an "id" and a "file_name", got {entry!r:.120}', place)
            continue
        row = add_image(table, folder, name, place, split=split, group=_first(entry, GROUP_KEYS),
                        view=_first(entry, VIEW_KEYS))
        ids.setdefault(place.id, row)
        sizes.append(tuple(_number(entry.get(side)) for side in ('height', 'width')))
        for side, value in zip(('height', 'width'), sizes[-1]):
            if entry.get(side) is not None and not value >= 0:
                table.tell_image('error', 'bad_size', f'"{name}" has the "{side}" {entry[side]!r:.40}, expected a '
                                 'number of pixels', row)
    return ids


def _read_annotations(table: DataTable, columns: list[list], content: dict, file: str, ids: dict[Any, int],
                      categories: dict[Any, str]) -> list[dict]:
    """Append the boxes of a file to the columns; returns what it says about each."""
    entries: list[dict] = []
    numbers, images, box_labels, crowd = columns
    labels = {name: number for number, name in enumerate(table.classes)}
    labels = {key: labels[name] for key, name in categories.items()}
    for place, entry in _entries(table, content, 'annotations', file, 'bad_annotation'):
        image, label = ids.get(_id(entry, 'image_id'), -1), labels.get(_id(entry, 'category_id'), -1)
        values = _four_numbers(entry.get('bbox'))
        numbers += values or (math.nan,) * 4
        images.append(image)
        box_labels.append(label)
        table.box_places.append(place)
        for name in ('iscrowd', 'ignore'):
            if entry.get(name):  # 0, no word of it: the usual case
                _settle_flag(table, entry, name, place, image)
        crowd.append(bool(entry.get('iscrowd')))
        entries.append(entry)
        if place.id is None or image < 0 or label < 0 or values is None:
            for code, text in _faults(entry, place.id, image, label, values, categories):
                table.tell('error', code, text, place, image=image, box=len(images) - 1)
    return entries


def _settle_flag(table: DataTable, entry: dict, name: str, place: Place, image: int) -> None:
    flag, box = as_flag(entry[name]), len(table.box_places) - 1
    if flag is None:
        table.tell('error', 'bad_flag', f'has the "{name}" {entry[name]!r:.40}, expected 0 or 1', place, image=image,
                   box=box)
        return
    if flag and name == 'ignore':
        table.tell('info', 'marked_ignore', 'ignore: 1, so that training leaves the box out', place, image=image,
                   box=box)
    entry[name] = int(flag)


def _faults(entry: dict, key: Any, image: int, label: int, values: Sequence | None,
            categories: dict) -> Iterable[tuple[str, str]]:
    def told(name: str, lacking: str) -> str:
        value = entry.get(name)
        return f'has no "{name}"' if value is None else f'has the "{name}" {value!r:.60}, ' + (
            'expected a number' if _id(entry, name) is None else lacking)

    if key is None:
        yield 'no_annotation_id', told('id', '')
    if image < 0:
        yield 'unknown_image', told('image_id', 'which "images" lacks')
    if label < 0:
        yield 'no_category' if entry.get('category_id') is None else 'unknown_category', told(
            'category_id', f'which "categories" lacks (it has {", ".join(map(repr, categories)):.80})')
    if values is None:
        box = entry.get('bbox')
        yield 'bad_box', 'has no "bbox"' if box is None else (
            f'has the "bbox" {box!r:.60}, expected four numbers x, y, width, height in pixels')


def _id(entry: dict, name: str) -> int | str | None:
    """An id of an entry, None for what is none; ``1.0`` becomes 1, in the entry too."""
    value = entry.get(name)
    if type(value) is int:  # the usual case, first
        return value
    if isinstance(value, float) and value.is_integer():
        value = entry[name] = int(value)
    return value if isinstance(value, (int, str)) and not isinstance(value, bool) else None


def _number(value: Any) -> float:
    return float(value) if type(value) in (int, float) and abs(value) < FARTHEST else math.nan


def _four_numbers(values: Any) -> list | None:
    if not isinstance(values, list) or len(values) != 4:
        return None
    for value in values:
        if type(value) not in (int, float) or FARTHEST <= abs(value) < math.inf:
            return None
    return values


def _first(entry: dict, keys: Iterable[str]) -> str:
    return next((whole_number(str(entry[key]).strip()) for key in keys if entry.get(key) not in (None, '')), '')
