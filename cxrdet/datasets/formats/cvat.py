"""CVAT for images 1.1: one XML file with all images of a task or project.

Format: https://docs.cvat.ai/docs/manual/advanced/xml_format/. Boxes are xyxy in pixels with continuous corners.
"""
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from cxrdet.core.detection.boxes import ellipse_box, turned_box
from cxrdet.core.issues import DataTable, Place
from cxrdet.datasets.formats.files import first_bytes, split_of
from cxrdet.datasets.formats.table_builder import TableBuilder, as_number
from cxrdet.datasets.formats.voc import parse_xml


def recognises(path: Path) -> bool:
    """An XML file of CVAT, or a folder with one."""
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    files = sorted(path.glob('*.xml')) if path.is_dir() else [path] if path.suffix.lower() == '.xml' else []
    return [file for file in files if '<annotations>' in first_bytes(file)]


def read(path: Path, images: Path | None = None) -> DataTable:
    """One XML file, or all in a folder; images in ``images/`` beside it. A split is the ``subset`` of an image.

    Of rotated boxes, ellipses, polygons and masks the upright extent is taken; points, lines, cuboids and skeletons are
    left out; both are told. The classes are those that the file declares, in its order.

    Raises:
        DataError: There is no such file, or no image in it.
    """
    build = TableBuilder('cvat', path, images)
    contents = {file: content for file in _files(path) if (content := build.attempt(parse_xml, file)) is not None}
    build.declared = list(dict.fromkeys(name.strip() for content in contents.values() for label in content.iterfind(
        'meta//label') if (name := label.findtext('name'))))
    for file, content in contents.items():
        for track in content.iterfind('track'):
            build.tell('error', 'bad_image', 'a track of a video; export "CVAT for images", whose shapes belong to '
                       'images', Place(str(file), f'track {track.get("id")}'))
        for number, element in enumerate(content.iterfind('image')):
            _read_image(build, file, element, number)
    return build.done()


def _read_image(build: TableBuilder, file: Path, element: Element, number: int) -> None:
    name, subset = element.get('name') or '', element.get('subset') or ''
    place = Place(str(file), f'image "{element.get("id", number)}"', number)
    if not name:
        build.tell('error', 'bad_image', 'an image without a name', place)
        return
    found = build.find(name, *(build.root / folder for folder in (f'images/{subset}', 'images')))
    split = '' if subset == 'default' else split_of(f'{subset}/') or subset
    image = build.add_image(found, place, size=[as_number(element.get(side)) for side in ('height', 'width')],
                            split=split)
    for count, shape in enumerate(element):
        spot = Place(str(file), f'{place.row}, shape {count + 1}', count)
        points, kind = _points(shape)
        if points is None:
            build.count(f'<{shape.tag}>', 'left out, for it has no box', spot)
        else:
            build.add_box(image, (shape.get('label') or '').strip(), points, spot, shape=kind)


def _points(shape: Element) -> tuple[Sequence[float] | None, str]:
    """The numbers x1, y1, x2, y2 … that a shape covers, None for one without area, and what it is, '' for a box."""
    def numbers(*names: str) -> list[float]:
        return [as_number(shape.get(name)) for name in names]

    angle = as_number(shape.get('rotation', 0))
    if shape.tag == 'box':
        corners = numbers('xtl', 'ytl', 'xbr', 'ybr')
        return (turned_box(corners, angle), 'turned box') if angle else (corners, '')
    if shape.tag == 'polygon':
        return [as_number(value) for value in (shape.get('points') or '').replace(';', ',').split(',')], shape.tag
    if shape.tag == 'ellipse':
        return ellipse_box(numbers('cx', 'cy'), numbers('rx', 'ry'), angle), shape.tag
    if shape.tag == 'mask':
        left, top, width, height = numbers('left', 'top', 'width', 'height')
        return [left, top, left + width, top + height], shape.tag
    return None, shape.tag
