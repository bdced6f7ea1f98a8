"""YOLO: a text file an image, a line a box: number of the class, then x and y of the centre, width and height, as
shares of the image. Format: https://docs.ultralytics.com/datasets/detect/.

``data.yaml`` names the classes and where each split is, or ``obj.data`` of Darknet, as CVAT writes it. Lines may also
hold a confidence behind the box, the corners of a turned box (8 numbers), the outline of a segment, or, where
``kpt_shape`` says so, a box and key points.
"""
import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from cxrdet.core.errors import DataError
from cxrdet.core.files import read_text
from cxrdet.core.issues import DataTable, Place
from cxrdet.core.paths import within
from cxrdet.datasets.formats.files import (
    SPLITS,
    annotation_files,
    files_below,
    first_bytes,
    spelled_on_disk,
    split_of,
)
from cxrdet.datasets.formats.table_builder import TableBuilder, as_number, measured

_NAME_FILES = ('classes.txt', 'obj.names', '_darknet.labels', 'predefined_classes.txt')
_YAML = ('.yaml', '.yml')
_NAMES = {**dict.fromkeys(_YAML, re.compile(r'^(names|nc)\s*:', re.MULTILINE)),
          '.data': re.compile(r'^\s*(names|train|valid)\s*=', re.MULTILINE)}
_MOST_CLASSES = 100_000


def recognises(path: Path) -> bool:
    """A ``.yaml`` file with ``names``, an ``obj.data``, a folder with one, or a folder of images with label files."""
    return _find_file(path) is not None or (path.is_dir() and any(map(_is_label, annotation_files(path, '.txt'))))


def _find_file(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix.lower() in _YAML or _describes(path) else None
    files = sorted(path.glob('*'), key=lambda file: (file.suffix == '.data', file.stem != 'data', file.name))
    below = [file for file in sorted(path.glob('*/data.y*ml')) if _describes(file)]  # as an archive is unpacked
    return next(filter(_describes, files), below[0] if len(below) == 1 else None)


def _describes(file: Path) -> bool:
    words = _NAMES.get(file.suffix.lower())
    return words is not None and words.search(first_bytes(file, 2 ** 16)) is not None


def _is_label(file: Path) -> bool:
    cells = first_bytes(file, 512).partition('\n')[0].split()
    return len(cells) >= 5 and all(math.isfinite(as_number(cell)) for cell in cells)


def read(path: Path, images: Path | None = None) -> DataTable:
    """``data.yaml``, its folder or the one around it; without one, all images of a folder, with ``classes.txt`` for
    the names.

    The labels of ``…/images/…/a.jpg`` are ``…/labels/…/a.txt``, else ``a.txt`` beside the image; with ``images``, a
    folder where there is none beside ``labels/``, they are ``labels/a.txt``. Of segments and turned boxes the upright
    extent is taken; confidences and key points are left out; each is told.

    Raises: DataError if ``data.yaml`` cannot be read, or there are no images or no labels.
    """
    file = _find_file(path)
    build = TableBuilder('yolo', file or path, images)
    content = _load(file) if file else {}
    names = _class_names(content, build.root)
    build.declared = names or []
    number = content.get('nc')
    if isinstance(number, int) and names is not None and number != len(names):
        build.tell('warning', 'class_count', f'nc: {number}, but {len(names)} classes have names',
                   Place(str(file), 'nc'))
    if names is None:
        build.tell('warning', 'no_class_names', 'neither data.yaml nor classes.txt names the classes; they are called '
                   'by their numbers', Place(str(file or path)))
    listed = _listed(build, content, file) if file and images is None else []
    listed = listed or [('', image) for image in files_below(images or build.root)]
    seen, bare = set(), []
    for split, image in listed:
        inside = None if images is None else Path(image).relative_to(images).with_suffix('.txt')
        label = Path(_label_of(image)) if inside is None else build.root / 'labels' / inside
        if _read_labels(build, split, image, label, _key_points(content)):
            seen.add(label)
        elif os.path.isfile(image):
            bare.append((image, label))
    if not seen:
        raise DataError(f'{path}: no image of this YOLO set has a file of labels; {len(listed)} images are there'
                        + (f', looked for {label} and others.' if listed else '.'))
    if bare:
        build.tell('warning', 'no_label_file', f'{len(bare)} of {len(listed)} images have no file of labels and count '
                   f'as images without boxes; the first is {bare[0][0]}', Place(str(bare[0][1])))
    for name, number in Counter(build.declared).items():
        if number > 1:
            build.tell('error', 'bad_category', f'{number} classes are named "{name}"', Place(str(file or path)))
    for other in (Path(text) for folder in sorted({label.parent for label in seen})
                  for text in files_below(folder, ('.txt',))):
        if other not in seen and _is_label(other):
            build.tell('warning', 'boxes_without_image', 'no image has the name of this file of labels',
                       Place(str(other)))
    return build.done()


def _load(file: Path) -> dict:
    if file.suffix.lower() == '.data':
        return _load_darknet(file)
    text = read_text(file)
    try:
        content = yaml.safe_load(text)
        written = yaml.load(text, yaml.BaseLoader)  # all as text: a class "no" is not False
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DataError(f'{file}: no YAML: {" ".join(str(error).split())}.') from None
    if not isinstance(content, dict):
        raise DataError(f'{file}: expected "names" and the folders of the splits, as "train: images/train".')
    names = content.get('names')
    if isinstance(names, (list, dict)) and None not in (names.values() if isinstance(names, dict) else names):
        content['names'] = written.get('names', names)
    return content


def _load_darknet(file: Path) -> dict:
    pairs = (line.partition('=') for line in read_text(file).splitlines())
    content: dict[str, Any] = {key.strip(): value.strip() for key, _, value in pairs}
    named = str(content.pop('names', ''))
    places = [os.path.join(file.parent, name) for name in (named, named.removeprefix('data/')) if name]
    found = next(filter(os.path.isfile, places), None)
    return content | ({'names': _lines(found)} if found else {})


def _lines(file: str | Path) -> list[str]:
    return [line.strip() for line in read_text(file).splitlines() if line.strip()]


def _class_names(content: dict, root: Path) -> list[str] | None:
    """Names in the order of their numbers: of ``data.yaml`` (a list, or number: name), or one a line of a text file."""
    names = content.get('names')
    if isinstance(names, list):
        names = dict(enumerate(names))
    elif names is None and isinstance(content.get('nc'), int):
        names = {content['nc'] - 1: content['nc'] - 1}
    if names is not None:
        if not isinstance(names, dict) or not all(re.fullmatch('[0-9]{1,9}', str(key)) and isinstance(
                name, (str, int)) for key, name in names.items()) or max(map(int, names), default=0) >= _MOST_CLASSES:
            raise DataError(f'{root}: "names" in data.yaml must be a list of names, or whole numbers with names.')
        names = {int(key): name for key, name in names.items()}
        return [str(names.get(number, number)) for number in range(max(names, default=-1) + 1)]
    for file in (folder / name for folder in (root, root / 'labels') for name in _NAME_FILES):
        if file.is_file():
            return _lines(file)
    return None


def _listed(build: TableBuilder, content: dict, file: Path) -> list[tuple[str, str]]:
    base = file.parent / next(iter(_as_list(content.get('path'))), '')
    folders, listed = build.table.folders, []
    for key, entry in [(split, entry) for split in SPLITS for entry in _as_list(content.get(split))]:
        inside = [file.parent / entry.removeprefix(start) for start in ('../', 'data/')]  # of Roboflow, of CVAT
        places = [base / entry, file.parent / entry, *inside]
        place = next((os.path.normpath(place) for place in places if os.path.exists(place)), None)
        around = place is not None and within(build.root, [place]) and not within(place, [build.root])
        if place is None or around:
            fault = 'holds the set itself' if around else f'is not there, neither below {base} nor beside the file'
            build.tell('error', 'missing_folder', f'{key}: "{entry}" {fault}', Place(str(file), key))
        elif os.path.isdir(place):
            folders += [] if within(place, folders) else [place]
            listed += [(split_of(f'{key}/'), image) for image in files_below(place)]
        else:
            lines = build.attempt(_lines, place)
            if lines == []:
                build.tell('error', 'empty_list', f'{key}: the list of images is empty', Place(place))
            for line in lines or ():
                ways = [os.path.normpath(folder / spelled_on_disk(name, folder))
                        for name in (line, line.removeprefix('data/')) for folder in (Path(place).parent, base)]
                listed.append((split_of(f'{key}/'), next(filter(os.path.isfile, ways), ways[0])))
    return listed


def _as_list(value: Any) -> list[str]:
    return [entry for entry in (value if isinstance(value, list) else [value]) if isinstance(entry, str) and entry]


def _label_of(image: str) -> str:
    """The file of labels of an image: in ``labels/`` in place of the last ``images/``, or beside it."""
    stem = os.path.splitext(image)[0]
    head, found, tail = stem.rpartition(f'{os.sep}images{os.sep}')
    mirrored = f'{head}{os.sep}labels{os.sep}{tail}.txt'
    return mirrored if found and (os.path.isfile(mirrored) or not os.path.isfile(f'{stem}.txt')) else f'{stem}.txt'


def _key_points(content: dict) -> int:
    shape = content.get('kpt_shape')
    if not isinstance(shape, list) or len(shape) != 2 or not all(isinstance(number, int) for number in shape):
        return 0
    return shape[0] * shape[1]


def _read_labels(build: TableBuilder, split: str, image: str, label: Path, key_points: int) -> bool:
    size = measured(image)
    row = build.add_image(image, Place(str(label)), size=size, split=split)
    if not os.path.isfile(label):  # unlike Path.is_file, False for a name that is too long
        return False
    for number, line in enumerate((build.attempt(read_text, label, image=row) or '').splitlines(), 1):
        if line.strip():
            _read_line(build, line.split(), row, size, Place(str(label), f'line {number}', number), key_points)
    return True


def _read_line(build: TableBuilder, cells: Sequence[str], image: int, size: tuple[float, float], place: Place,
               key_points: int) -> None:
    key, *values = map(as_number, cells)
    boxed, fault, names = len(values) in (4, 5, 4 + key_points), '', build.declared
    far = [cell for cell, value in zip(cells[1:5] if boxed else cells[1:], values) if not -0.5 <= value <= 1.5]
    if not boxed and (len(values) < 6 or len(values) % 2):
        fault = f'expected a class and 4 numbers, or the corners of an outline, got {len(cells)} cells'
    elif far:
        fault = f'"{far[0]:.20}" is no number that is a share of the image, 0 to 1'
    elif not math.isfinite(size[0]):
        fault = 'the image cannot be read, so that the box cannot be placed'
    label = ''
    if math.isfinite(key) and key == int(key) >= 0:
        label = str(int(key)) if not names else names[int(key)] if key < len(names) else f'number {int(key)}'
    points, shape = ([], '') if fault else _corners(values, size, key_points)
    build.add_box(image, label, points, place, shape=shape, fault=fault)


def _corners(values: list[float], size: tuple[float, float], key_points: int) -> tuple[list[float], str]:
    height, width = size
    if len(values) not in (4, 5) and len(values) != 4 + key_points:
        return [value * (height if k % 2 else width) for k, value in enumerate(values)], (
            'outline of four corners (a turned box or a segment)' if len(values) == 8 else 'segment')
    x, y, w, h = values[:4]
    shape = {4: '', 5: 'box with a confidence'}.get(len(values), 'box with key points')
    return [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height], shape
