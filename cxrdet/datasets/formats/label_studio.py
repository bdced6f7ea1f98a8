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
from cxrdet.core.issues import DataTable, Place
from cxrdet.datasets.formats.coco import load_json
from cxrdet.datasets.formats.files import IMAGE_SUFFIXES, first_bytes
from cxrdet.datasets.formats.table_builder import TableBuilder, as_number, as_pairs, measured

_TASK = re.compile(r'^\[(?!.*"category_id").*"(data|result|completions|original_width|annotation_id)"\s*:', re.S)
"""A list whose objects are no tasks, as of CreateML, has ``annotations`` too."""
_LABELS = re.compile(r'(rectangle|polygon|ellipse|brush|keypoint|)labels')


def recognises(path: Path) -> bool:
    """A JSON file of Label Studio, or a folder with one."""
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    files = sorted(path.glob('*.json')) if path.is_dir() else [path] if path.suffix.lower() == '.json' else []
    return [file for file in files if _TASK.search(first_bytes(file, 2 ** 16))]


def read(path: Path, images: Path | None = None) -> DataTable:
    """One export, or all in a folder. An image is found by its name below the folder, whatever its URL is.

    Of a task with several annotations the one marked as ground truth is taken, else the newest; a task without any but
    with predictions gives those. Of turned boxes, polygons and ellipses the upright extent is taken, and brushes and
    key points are left out. Of a task with several images, a shape is of the one that ``to_name`` names. Each is told.

    Raises:
        DataError: There is no such file, or no task with an image in it.
    """
    build = TableBuilder('label-studio', path, images)
    for file in _files(path):
        for number, task in enumerate(build.attempt(load_json, file) or ()):
            task = task if isinstance(task, dict) else {}
            _read_task(build, task, Place(str(file), f'task {number + 1}', number, _id(task)))
    return build.done()


def _read_task(build: TableBuilder, task: dict, place: Place) -> None:
    data = task['data'] if isinstance(task.get('data'), dict) else task
    urls = {key: url for key, url in sorted(data.items(), key=lambda entry: entry[0] != 'image')
            if isinstance(url, str) and url and (key == 'image' or _file_name(url).lower().endswith(IMAGE_SUFFIXES))}
    if not urls:
        build.tell('error', 'bad_image', 'the task names no image', place)
        return
    shapes = _result(build, task, place)
    owners = _owners(list(urls), shapes)
    rows: dict[str, tuple[int, Sequence[float]]] = {}
    for key in dict.fromkeys([next(iter(urls)), *filter(None, owners)]):
        found = build.find(_file_name(urls[key]))
        size = next(([as_number(item.get(f'original_{side}')) for side in ('height', 'width')]
                     for item, owner in zip(shapes, owners) if owner == key and item.get('original_width')), None)
        size = size or measured(found)
        at = place if not rows else Place(place.file, f'{place.row}, {key}', place.number)
        rows[key] = build.add_image(found, at, size=size), size
    labelled = {_id(item) for item in shapes if _labels(item)}
    for number, (item, owner) in enumerate(zip(shapes, owners)):
        at = Place(place.file, f'{place.row}, result[{number}]', number)
        if not owner:
            build.tell('error', 'unknown_image', f'the task names {", ".join(urls)} as images, and of which '
                       f'this shape is cannot be known (to_name: {str(item.get("to_name")):.40}); it is left out', at)
        elif _labels(item) or _id(item) is None or _id(item) not in labelled:  # else it comes again, with a label
            _read_shape(build, rows[owner][0], item, at, rows[owner][1])


def _owners(urls: list[str], shapes: list[dict]) -> list[str]:
    """Key in ``urls`` of the image of each shape, ``''`` for unknown: the only one, for an only name; the one that
    ``to_name`` names; or the only other one, for the only other name. What has no place in an image is of the first."""
    placed = [bool({'x', 'y', 'points'} & _value(item).keys()) for item in shapes]
    names = list(dict.fromkeys(
        str(item['to_name']) for item, lies in zip(shapes, placed) if lies and item.get('to_name')))
    known = {name: name for name in names if name in urls}
    other_urls, other_names = [key for key in urls if key not in known], [name for name in names if name not in known]
    if known and len(other_urls) == len(other_names) == 1:
        known[other_names[0]] = other_urls[0]
    alone = len(urls) == 1 and len(names) < 2
    return [known.get(str(item.get('to_name')), '') if lies and not alone else urls[0]
            for item, lies in zip(shapes, placed)]


def _file_name(url: str) -> str:
    """What a URL says of the place of an image: the path after ``?d=`` of a local file, else that of the URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    local = parse_qs(parts.query).get('d')
    return (local[0] if local else unquote(parts.path)).lstrip('/')


def _result(build: TableBuilder, task: dict, place: Place) -> list[dict]:
    given, guessed = _dicts(task.get('annotations', task.get('completions'))), _dicts(task.get('predictions'))
    if not {'annotations', 'completions', 'predictions'} & task.keys():  # JSON-MIN: shapes under the names of controls
        return [{**item, 'value': item} for value in task.values() for item in _dicts(value)]
    done = [item for item in given if not item.get('was_cancelled')]
    for applies, level, code, text in (
            (len(done) < len(given), 'info', 'skipped_annotation', f'{len(given) - len(done)} cancelled: left out'),
            (len(done) > 1, 'warning', 'several_annotations', f'{len(done)} annotations: one was taken, the ground '
             'truth or the newest'),
            (not given and guessed, 'warning', 'predictions_only', 'no annotation: the predictions were taken')):
        if applies:
            build.tell(level, code, text, place)
    chosen = max(done if given else guessed, default={}, key=lambda item: (
        bool(item.get('ground_truth')), str(item.get('created_at') or '')))
    return _dicts(chosen.get('result'))


def _dicts(value: Any) -> list[dict]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _id(item: dict) -> int | str | None:
    return item['id'] if isinstance(item.get('id'), (int, str)) else None


def _value(item: dict) -> dict:
    return item['value'] if isinstance(item.get('value'), dict) else {}


def _labels(item: dict) -> list:
    return next((names for key, names in _value(item).items()
                 if _LABELS.fullmatch(key) and isinstance(names, list)), [])


def _read_shape(build: TableBuilder, image: int, item: dict, place: Place, size: Sequence[float]) -> None:
    value, labels = _value(item), _labels(item)
    label = str(labels[0]).strip() if labels else ''
    high, wide = size
    x, w, across = (as_number(value.get(name)) * wide / 100 for name in ('x', 'width', 'radiusX'))
    y, h, down = (as_number(value.get(name)) * high / 100 for name in ('y', 'height', 'radiusY'))
    angle, kind = as_number(value.get('rotation') or 0), f'{item.get("type") or ""} {" ".join(value)}'
    points, shape = (x, y, x + w, y + h), ''
    if 'points' in value:
        points = [number * (high if k % 2 else wide) / 100 for k, number in enumerate(as_pairs(value['points']))]
        shape = 'polygon'
    elif 'radiusX' in value:
        points, shape = ellipse_box((x, y), (across, down), angle), 'ellipse'
    elif 'keypoint' in kind or not {'x', 'y', 'width', 'height'} & value.keys():
        build.count(str(item.get('type') or 'shape without numbers'), 'left out, for it has no box', place)
        return
    elif angle:
        points, shape = turned_box(points, angle, about_corner=True), 'turned box'
    turned = as_number(item.get('image_rotation') or 0)
    fault = f'the image was shown turned by {turned:g} degrees, image_rotation: where the box lies in it is unknown'
    build.add_box(image, label, points, place, shape=shape, fault=fault if turned else '')
    if len(labels) > 1:
        build.tell('warning', 'several_labels', f'the shape has {len(labels)} labels; the first, "{label}", was taken',
                   place, image=image)
