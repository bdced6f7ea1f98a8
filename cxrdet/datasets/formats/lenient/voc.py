"""Pascal VOC sets, read to the end whatever is wrong in them."""
import math
import os
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from cxrdet.core.errors import DataError
from cxrdet.core.files import read_text
from cxrdet.core.issues import DataTable, Finding, Place
from cxrdet.datasets.formats.files import IMAGE_SUFFIXES, image_paths
from cxrdet.datasets.formats.voc import parse_xml

LISTS = ('train', 'val', 'test')
CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


def recognises(path: Path) -> bool:
    """A folder with ``Annotations/*.xml``."""
    return any((path / 'Annotations').glob('*.xml'))


def read_voc_set(path: Path, images: Path | None = None) -> DataTable:
    """A folder with ``Annotations/*.xml``, ``JPEGImages/`` and, for splits, ``ImageSets/Main/{train,val,test}.txt``.

    Corners are taken as they are, ``width = xmax - xmin`` (see :class:`cxrdet.CellVOCDataset`). An annotation that
    cannot be parsed keeps its image in the table, without a box.

    Raises:
        DataError: There is no annotation.
    """
    folder = images or path / 'JPEGImages'
    table = DataTable('voc', folders=[str(folder)], source={})
    stems = sorted(file.stem for file in (path / 'Annotations').glob('*.xml'))
    if not stems:
        raise DataError(f'{path / "Annotations"}: there is no XML file in this folder.')
    listing: dict[str, str] = {}
    for file in image_paths(folder):
        listing.setdefault(os.path.splitext(os.path.relpath(file, folder))[0], file)
    members = _read_lists(path, set(stems), table.findings)
    roots = {stem: _parse(path / 'Annotations' / f'{stem}.xml', table) for stem in stems}
    sizes: list[tuple[float, float]] = []
    boxes: list[tuple[int, str, list[float], bool]] = []
    for split, stem in members:
        file = path / 'Annotations' / f'{stem}.xml'
        root = roots.get(stem)
        image = len(table.names)
        table.names.append(stem)
        table.files.append(listing.get(stem) or str(folder / f'{stem}{_suffix(root)}'))
        table.splits.append(split)
        table.places.append(Place(str(file)))
        sizes.append(_size(root, str(file), table.findings))
        for number, element in enumerate(root.findall('object') if root is not None else ()):
            boxes.append(_read_object(table, element, Place(str(file), f'object {number + 1}', number), image))
    _fill(table, sizes, boxes)
    table.groups, table.views = [''] * len(table.names), [''] * len(table.names)
    table.source = roots
    return table


def _read_lists(path: Path, stems: set[str], findings: list[Finding]) -> list[tuple[str, str]]:
    """(split, name) of every image: those of the lists, then those that no list names."""
    members: list[tuple[str, str]] = []
    for split in LISTS:
        file = path / 'ImageSets' / 'Main' / f'{split}.txt'
        if not file.is_file():
            continue
        try:
            lines = read_text(file).splitlines()
        except DataError as error:
            findings.append(Finding('error', 'unreadable_annotations', str(error), str(file)))
            continue
        seen: set[str] = set()
        for number, line in enumerate(lines, 1):
            name = line.strip()
            if name in seen:
                findings.append(Finding('error', 'listed_twice', f'"{name}" is listed before', str(file),
                                        f'line {number}', name))
            elif name and name not in stems:
                findings.append(Finding('error', 'missing_annotation', f'"{name}" is listed, but Annotations/{name}'
                                        '.xml is not there', str(file), f'line {number}', name))
            elif name:
                members.append((split, name))
            seen.add(name)
    listed = {name for _, name in members}
    rest = sorted(stems - listed)
    if members and rest:
        findings.append(Finding('info', 'not_listed', f'{len(rest)} annotations stand in no list of a split: '
                                f'{", ".join(rest[:5])}', str(path / 'ImageSets' / 'Main')))
    return members + [('', name) for name in rest]


def _parse(file: Path, table: DataTable) -> Element | None:
    try:
        root = parse_xml(file)
        if root.tag == 'annotation':
            return root
        text = f'{file}: expected <annotation> as the root, got <{root.tag}>.'
    except DataError as error:
        text = str(error)
    table.findings.append(Finding('error', 'unreadable_annotations', text, str(file)))
    return None


def _suffix(root: Element | None) -> str:
    stated = os.path.splitext((root.findtext('filename') or '').strip())[1] if root is not None else ''
    return stated if stated.lower() in IMAGE_SUFFIXES else '.jpg'


def _size(root: Element | None, file: str, findings: list[Finding]) -> tuple[float, float]:
    sides = []
    for side in ('height', 'width'):
        text = ((root.findtext(f'size/{side}') if root is not None else '') or '').strip()
        value = _number(text)
        if text and not value >= 0:
            findings.append(Finding('error', 'bad_size', f'<{side}> is "{text}"', file))
        sides.append(value if value > 0 else math.nan)
    return sides[0], sides[1]


def _read_object(table: DataTable, element: Element, place: Place, image: int) -> tuple[int, str, list[float], bool]:
    name = (element.findtext('name') or '').strip()
    texts = [(element.findtext(f'bndbox/{corner}') or '').strip() for corner in CORNERS]
    box = [_number(text) for text in texts]
    number = len(table.box_places)
    table.box_places.append(place)
    if not name:
        table.findings.append(Finding('error', 'no_category', 'the object has no <name>', place.file, place.row,
                                      image=image, box=number))
    if not all(map(math.isfinite, box)):
        table.findings.append(Finding('error', 'bad_box', f'expected a <bndbox> of four numbers, got {texts}',
                                      place.file, place.row, image=image, box=number))
    difficult = (element.findtext('difficult') or '').strip() not in ('', '0')
    return image, name, box, difficult


def _fill(table: DataTable, sizes: list, boxes: list[tuple[int, str, list[float], bool]]) -> None:
    table.classes = tuple(sorted({name for _, name, _, _ in boxes if name}))
    labels = {name: number for number, name in enumerate(table.classes)}
    table.sizes = np.array(sizes, np.float64).reshape(-1, 2)
    table.boxes = np.array([box for _, _, box, _ in boxes], np.float64).reshape(-1, 4)
    table.box_image = np.array([image for image, *_ in boxes], np.int64)
    table.box_label = np.array([labels.get(name, -1) for _, name, _, _ in boxes], np.int64)
    table.crowd = np.array([difficult for *_, difficult in boxes], bool)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
