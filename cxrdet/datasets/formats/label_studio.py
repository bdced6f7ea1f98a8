"""Label Studio: a JSON list of tasks, as "JSON" or "JSON-MIN" is exported, or as tasks with predictions.

Format: https://labelstud.io/guide/export and https://labelstud.io/guide/task_format. Boxes are the upper left corner
and the sides in percent of the image, turned around that corner by ``rotation`` degrees, clockwise.
"""
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cxrdet.core.detection.boxes import ellipse_box, turned_box
from cxrdet.core.errors import DataError
from cxrdet.core.issues import DataTable, Place
from cxrdet.datasets.formats.files import IMAGE_SUFFIXES
from cxrdet.datasets.formats.table_builder import TableBuilder, as_number, as_pairs, first_bytes, measured, split_of

__all__ = ['read', 'recognises']

_TASK = re.compile(r'"(annotations|predictions|completions|data|original_width|annotation_id)"\s*:')
_LABELS = re.compile(r'(rectangle|polygon|ellipse|brush|keypoint|)labels')


def recognises(path: Path) -> bool:
    """A JSON file of Label Studio, or a folder with one."""
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    files = sorted(path.glob('*.json')) if path.is_dir() else [path] if path.suffix.lower() == '.json' else []
    heads = ((file, first_bytes(file, 2 ** 16)) for file in files)
    return [file for file, head in heads if head.startswith('[') and _TASK.search(head) and '"category_id"' not in head]


def read(path: Path, images: Path | None = None) -> DataTable:
    """One export, or all in a folder. An image is found by its name below the folder, whatever its URL is.

    Of a task with several annotations the one marked as ground truth is taken, else the newest, which is told; a task
    without any but with predictions gives those, which is told. Of turned boxes, polygons and ellipses the upright
    extent is taken, and brushes and key points are left out, which is told.

    Raises:
        DataError: There is no such file, or no task with an image in it.
    """
    root = path if path.is_dir() else path.parent
    build = TableBuilder('label-studio', root, images)
    for file in _files(path):
        for number, task in enumerate(build.load_json(file, list) or ()):
            place = Place(str(file), f'task {number + 1}', number, _id(task))
            _read_task(build, task if isinstance(task, dict) else {}, place)
    if not build.table.names:
        raise DataError('; '.join(item.text for item in build.table.findings) or f'{path}: no JSON of Label Studio.')
    build.table.folders = [str(images or root)]
    return build.done()


def _id(task: Any) -> int | str | None:
    found = task.get('id') if isinstance(task, dict) else None
    return found if isinstance(found, (int, str)) else None


def _read_task(build: TableBuilder, task: dict, place: Place) -> None:
    data = task.get('data') if isinstance(task.get('data'), dict) else task
    url = _image_url(data)
    if not url:
        build.tell('error', 'bad_image', 'the task names no image', place)
        return
    name = _name(url)
    found = build.find(name)
    name = build.name_inside(found, name.rpartition('/')[2])
    shapes = _result(build, task, place)
    size = next(([as_number(item.get(f'original_{side}')) for side in ('height', 'width')] for item in shapes
                 if item.get('original_width')), None) or measured(found)
    image = build.add_image(name, found, place, size=size, split=split_of(name))
    labelled = {_id(item) for item in shapes if _labels(item)}
    for number, item in enumerate(shapes):
        if _labels(item) or _id(item) is None or _id(item) not in labelled:  # else it comes again, with a label
            _read_shape(build, image, item, Place(place.file, f'{place.row}, result[{number}]', number), size)


def _image_url(data: dict) -> str:
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    named = [value for value in texts.values() if _name(value).lower().endswith(IMAGE_SUFFIXES)]
    return texts.get('image') or next(iter(named), '')


def _name(url: str) -> str:
    """What a URL says of the place of an image: the path after ``?d=`` of a local file, else that of the URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    local = parse_qs(parts.query).get('d')
    return (local[0] if local else unquote(parts.path)).lstrip('/')


def _result(build: TableBuilder, task: dict, place: Place) -> list[dict]:
    """The shapes of a task."""
    given, guessed = _dicts(task.get('annotations', task.get('completions'))), _dicts(task.get('predictions'))
    if not {'annotations', 'completions', 'predictions'} & task.keys():  # JSON-MIN: shapes under the names of controls
        return [{**item, 'value': item} for value in task.values() for item in _dicts(value)]
    done = [item for item in given if not item.get('was_cancelled')]
    if len(done) < len(given):
        build.tell('info', 'skipped_annotation', f'{len(given) - len(done)} cancelled annotations are left out', place)
    if len(done) > 1:
        build.tell('warning', 'several_annotations', f'the task has {len(done)} annotations; one was taken, the ground '
                   'truth or the newest', place)
    if not given and guessed:
        build.tell('warning', 'predictions_only', 'the task holds predictions and no annotation; they were taken',
                   place)
        done = guessed
    chosen = max(done, key=lambda item: (bool(item.get('ground_truth')), str(item.get('created_at') or '')), default={})
    return _dicts(chosen.get('result'))


def _dicts(value: Any) -> list[dict]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _value(item: dict) -> dict:
    return item['value'] if isinstance(item.get('value'), dict) else {}


def _labels(item: dict) -> list:
    """The classes of a shape."""
    key = next((key for key in _value(item) if _LABELS.fullmatch(key)), '')
    return _value(item)[key] if key and isinstance(_value(item)[key], list) else []


def _read_shape(build: TableBuilder, image: int, item: dict, place: Place, size: Sequence[float]) -> None:
    value, labels = _value(item), _labels(item)
    label = str(labels[0]).strip() if labels else ''
    high, wide = size
    percent = {name: as_number(value.get(name)) for name in ('x', 'y', 'width', 'height', 'radiusX', 'radiusY')}
    x, w, across = (percent[name] * wide / 100 for name in ('x', 'width', 'radiusX'))
    y, h, down = (percent[name] * high / 100 for name in ('y', 'height', 'radiusY'))
    angle = as_number(value.get('rotation') or 0)
    kind = f'{item.get("type") or ""} {" ".join(value)}'
    if 'points' in value:
        points = [number * (high if k % 2 else wide) / 100 for k, number in enumerate(as_pairs(value['points']))]
        build.add_box(image, label, points, place, shape='polygon')
    elif 'radiusX' in value:
        build.add_box(image, label, ellipse_box((x, y), (across, down), angle), place, shape='ellipse')
    elif 'keypoint' in kind or not {'x', 'y', 'width', 'height'} & value.keys():
        build.skip(str(item.get('type') or 'shape without numbers'), place)
        return
    else:
        box = x, y, x + w, y + h
        build.add_box(image, label, turned_box(box, angle, about_corner=True) if angle else box, place,
                      shape='turned box' if angle else '')
    if len(labels) > 1:
        build.tell('warning', 'several_labels', f'the shape has {len(labels)} labels; the first, "{label}", was taken',
                   place, image=image)
