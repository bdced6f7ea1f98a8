"""labelme: one JSON file an image, beside it. Format: https://github.com/wkentaro/labelme (MIT)."""
import math
import re
from pathlib import Path

from cxrdet.core.detection.boxes import ellipse_box
from cxrdet.core.errors import DataError
from cxrdet.core.issues import DataTable, Place
from cxrdet.datasets.formats.files import files_below
from cxrdet.datasets.formats.table_builder import (
    TableBuilder,
    annotation_files,
    as_number,
    as_pairs,
    first_bytes,
    split_of,
)

__all__ = ['read', 'recognises']

_SHAPES = re.compile(r'"(shapes|imagePath|imageData)"\s*:')


def recognises(path: Path) -> bool:
    """A JSON file of labelme, or a folder with one in it or below."""
    return any(map(_is_labelme, annotation_files(path, '.json')))


def _is_labelme(file: Path) -> bool:
    head = first_bytes(file)
    return head.startswith('{') and _SHAPES.search(head) is not None


def read(path: Path, images: Path | None = None) -> DataTable:
    """All JSON files of labelme in a folder and below, or one. A folder ``train``, ``val`` or ``test`` is a split.

    Corners of a rectangle may stand in any order. Of polygons, circles and rotated rectangles the upright extent is
    taken, which is told; points and lines are left out, which is told.

    Raises:
        DataError: There is no such file.
    """
    root = path if path.is_dir() else path.parent
    build = TableBuilder('labelme', root, images)
    for file in map(Path, files_below(path, ('.json',))) if path.is_dir() else [path]:
        place = Place(str(file))
        if not _is_labelme(file):
            build.tell('warning', 'other_file', 'no JSON file of labelme; it was not read', place)
            continue
        content = build.load_json(file, dict)
        if content is None:
            continue
        shapes, name = content.get('shapes'), content.get('imagePath')
        if not isinstance(shapes, list) or not isinstance(name, str) or not name:
            build.tell('error', 'unreadable_annotations', 'expected a list "shapes" and the name of the image, '
                       '"imagePath"', place)
            continue
        found = build.find(name.replace('\\', '/'), file.parent)
        image = build.add_image(build.name_inside(found, found), found, place,
                                size=[as_number(content.get(f'image{side}')) for side in ('Height', 'Width')],
                                split=split_of(file.relative_to(root).as_posix()))
        for number, entry in enumerate(shapes):
            _read_shape(build, image, entry if isinstance(entry, dict) else {}, Place(
                str(file), f'shapes[{number}]', number))
    if not build.table.names:
        raise DataError('; '.join(item.text for item in build.table.findings) or f'{path}: no JSON file of labelme.')
    build.table.folders = [str(images or root)]
    return build.done()


def _read_shape(build: TableBuilder, image: int, entry: dict, place: Place) -> None:
    shape, points = entry.get('shape_type') or 'polygon', as_pairs(entry.get('points'))
    label = str(entry.get('label') or '').strip()
    if shape == 'rectangle' and len(points) == 4:
        x, y = points[::2], points[1::2]
        build.add_box(image, label, [min(x), min(y), max(x), max(y)] if all(map(math.isfinite, points)) else points,
                      place)
    elif shape == 'circle' and len(points) == 4:
        x, y, *edge = points
        build.add_box(image, label, ellipse_box((x, y), [math.dist((x, y), edge)] * 2), place, shape='circle')
    elif shape in ('point', 'points', 'line', 'linestrip'):
        build.skip(shape, place)
    else:  # also a mask, whose points are the corners of its box
        build.add_box(image, label, points, place, shape=str(shape))
