"""labelme: one JSON file an image, beside it. Format: https://github.com/wkentaro/labelme (MIT)."""
import math
import re
from pathlib import Path

from cxrdet.core.detection.boxes import ellipse_box
from cxrdet.core.issues import DataTable, Place
from cxrdet.datasets.formats.coco import load_json
from cxrdet.datasets.formats.files import annotation_files, files_below, first_bytes, split_of
from cxrdet.datasets.formats.table_builder import TableBuilder, as_number, as_pairs

_LABELME = re.compile(r'^\{.*"(shapes|imagePath|imageData)"\s*:', re.DOTALL)


def recognises(path: Path) -> bool:
    """A JSON file of labelme, or a folder with one in it or below."""
    return any(map(_is_labelme, annotation_files(path, '.json')))


def _is_labelme(file: Path) -> bool:
    return _LABELME.search(first_bytes(file)) is not None


def read(path: Path, images: Path | None = None) -> DataTable:
    """All JSON files of labelme in a folder and below, or one. A folder ``train``, ``val`` or ``test`` is a split.

    Corners of a rectangle may stand in any order. Of polygons, circles and rotated rectangles the upright extent is
    taken; points and lines are left out; both are told.

    Raises:
        DataError: There is no such file.
    """
    build = TableBuilder('labelme', path, images)
    for file in map(Path, files_below(path, ('.json',))) if path.is_dir() else [path]:
        if not _is_labelme(file):
            build.tell('warning', 'other_file', 'no JSON file of labelme; it was not read', Place(str(file)))
            continue
        content = build.attempt(load_json, file)
        if content is None:
            continue
        shapes, name = content.get('shapes'), content.get('imagePath')
        if not isinstance(shapes, list) or not isinstance(name, str) or not name:
            build.tell('error', 'unreadable_annotations', 'expected a list "shapes" and the name of the image, '
                       '"imagePath"', Place(str(file)))
            continue
        image = build.add_image(build.find(name.replace('\\', '/'), file.parent), Place(str(file)),
                                size=[as_number(content.get(f'image{side}')) for side in ('Height', 'Width')],
                                split=split_of(file.relative_to(build.root).as_posix()))
        for number, entry in enumerate(shapes):
            _read_shape(build, image, entry if isinstance(entry, dict) else {}, Place(
                str(file), f'shapes[{number}]', number))
    return build.done()


def _read_shape(build: TableBuilder, image: int, entry: dict, place: Place) -> None:
    shape, points = str(entry.get('shape_type') or 'polygon'), as_pairs(entry.get('points'))
    label = str(entry.get('label') or '').strip()
    if shape == 'rectangle' and len(points) == 4:
        x1, y1, x2, y2 = points
        points, shape = [min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)] if all(map(math.isfinite, points)) else (
            points), ''
    elif shape == 'circle' and len(points) == 4:
        points = ellipse_box(points[:2], [math.dist(points[:2], points[2:])] * 2)
    elif shape in ('point', 'points', 'line', 'linestrip'):
        build.count(shape, 'left out, for it has no box', place)
        return
    build.add_box(image, label, points, place, shape=shape)  # the points of a mask are the corners of its box
