"""Pascal VOC annotations: one XML file per image, parsed safely, and read to the end whatever is wrong in them.

Format: Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010, and the development kit's
``Annotations/*.xml`` with ``ImageSets/Main/*.txt``. What a file needs is ``<object>`` elements with ``<name>`` and
``<bndbox>``; ``<size>``, ``<filename>`` and ``<difficult>`` are used where they are. Annotations may lie in folders
below ``Annotations``, as CVAT writes them: ``case1/a.xml`` is of the image ``case1/a``.
"""
import math
import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.files import read_text
from cxrdet.core.issues import DataTable, Finding, Place, raise_errors
from cxrdet.datasets.formats.files import IMAGE_SUFFIXES, files_below

__all__ = ['CORNERS', 'LISTS', 'SIDES', 'parse_xml', 'read', 'read_list', 'recognises']

CORNERS = ('exclusive', 'inclusive')
LISTS = ('train', 'val', 'test')
SIDES = ('xmin', 'ymin', 'xmax', 'ymax')


def recognises(path: Path) -> bool:
    """A folder with ``Annotations/*.xml``."""
    return path.is_dir() and any(files_below(path / 'Annotations', ('.xml',)))


def read(path: Path, images: Path | None = None, *, annotations: Path | None = None,
         lists: Mapping[Path, str] | None = None, corners: str = 'exclusive') -> DataTable:
    """A folder with ``Annotations/*.xml``, ``JPEGImages/`` and, for splits, ``ImageSets/Main/{train,val,test}.txt``.

    An annotation that cannot be parsed keeps its image in the table, without a box. The image of ``<name>.xml`` is
    ``<name>`` with one of :data:`~cxrdet.datasets.formats.files.IMAGE_SUFFIXES` (any case); what ``<filename>`` says
    decides between several. Geometry is not judged here.

    Args:
        path: The folder.
        images, annotations: Folders of images and of XML files, where they are not the usual ones.
        lists: List of names -> split, to read these only; by default those that are there, and the rest without split.
        corners: What the four numbers mean. ``'exclusive'``: corners of the box in continuous image coordinates, taken
            as they are, ``width = xmax - xmin``. ``'inclusive'``: indices of the first and last pixel, counted from 1,
            as the VOC development kit says: the box is ``(xmin - 1, ymin - 1, xmax, ymax)``.

    Raises:
        DataError: There is no annotation.
        ConfigError: ``corners`` is neither.
    """
    check_corners(corners)
    folder, images = annotations or path / 'Annotations', images or path / 'JPEGImages'
    table = DataTable('voc', folders=[str(images)], source={})
    members = _members(table, path, folder, lists)
    sizes: list[list[float]] = []
    boxes: list[tuple] = []
    listings: dict[str, dict[str, list[str]]] = {}
    faults: dict[str, str] = {}
    for split, name in members:
        file = str(folder / f'{name}.xml')
        if name not in table.source:
            table.source[name], faults[name] = _parse(file)
        root, image = table.source[name], len(table.names)
        table.names.append(name)
        table.files.append(_image_file(images, name, '' if root is None else _text(root, 'filename'), listings))
        table.splits.append(split)
        table.places.append(Place(file))
        if root is None:
            table.tell_images('error', 'unreadable_annotations', [(image, faults[name])])
        sizes.append([_size(table, image, root, side) for side in ('height', 'width')])
        for number, element in enumerate(() if root is None else root.findall('object')):
            boxes.append(_read_object(table, element, Place(file, f'object {number + 1}', number), image))
    names, corner_values, image_rows, difficult = zip(*boxes) if boxes else ((), (), (), ())
    table.classes = tuple(sorted(set(names) - {''}))
    labels = {name: number for number, name in enumerate(table.classes)}
    table.sizes = np.array(sizes, np.float64).reshape(-1, 2)
    table.boxes = np.array(corner_values, np.float64).reshape(-1, 4)
    if corners == 'inclusive':
        table.boxes[:, :2] -= 1
    table.box_image = np.array(image_rows, np.int64)
    table.box_label = np.array([labels.get(name, -1) for name in names], np.int64)
    table.crowd = np.array(difficult, bool)
    table.groups, table.views = [''] * len(table.names), [''] * len(table.names)
    table.find_conflicts()
    return table


def check_corners(corners: str) -> None:
    """Raise :class:`ConfigError` unless ``corners`` is one of the known meanings."""
    if corners not in CORNERS:
        raise ConfigError(f'corners must be "exclusive" or "inclusive", got {corners!r}.')


def parse_xml(path: str | Path) -> Element:
    """Parse an XML file without expanding entities and without opening anything that it names.

    Raises:
        DataError: the file is missing, empty, malformed (with line and column) or declares entities.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f'{path}: cannot read the annotation file: {error.strerror or error}.') from None
    if not data.strip():
        raise DataError(f'{path}: the annotation file is empty ({len(data)} bytes).')
    try:
        return fromstring(data)
    except DefusedXmlException as error:
        name = getattr(error, 'name', None) or getattr(error, 'sysid', None) or '?'
        raise DataError(f'{path}: refused: the XML declares or fetches the entity "{name}". An annotation needs none; '
                        'remove the declaration, and distrust the origin of the file.') from None
    except ParseError as error:
        line, column = error.position
        reason = str(error).partition(':')[0]
        raise DataError(f'{path}: malformed XML at line {line}, column {column + 1}: {reason}.') from None
    except (LookupError, ValueError) as error:  # an encoding that Python does not know
        raise DataError(f'{path}: malformed XML: {error}.') from None


def read_list(path: str | Path) -> list[str]:
    """Read an image set (``ImageSets/Main/train.txt``): one name per line, without suffix; blank lines are skipped.

    Raises:
        DataError: the file is missing, empty, not UTF-8 text, or names an image twice (with the lines).
    """
    names, findings = list_names(path)
    raise_errors(findings)
    return list(names)


def list_names(path: str | Path) -> tuple[dict[str, int], list[Finding]]:
    """Names of an image set with their lines, and what is wrong: a name that is repeated, a list without any.

    Raises:
        DataError: the file is missing or no text.
    """
    rows: dict[str, int] = {}
    findings = []
    for number, line in enumerate(read_text(path, 'list of images').splitlines(), 1):
        name = line.strip()
        if name and rows.setdefault(name, number) != number:
            findings.append(Finding('error', 'listed_twice', f'lines {rows[name]} and {number} both name "{name}"',
                                    str(path), f'line {number}', name))
    if not rows:
        findings.append(Finding('error', 'empty_list', 'the list of images is empty', str(path)))
    return rows, findings


def _members(table: DataTable, path: Path, folder: Path, lists: Mapping[Path, str] | None) -> list[tuple[str, str]]:
    """(split, name) of every image: those of the lists, then, unless the lists are given, those that no list names."""
    stems = sorted(os.path.relpath(file, folder)[:-4] for file in files_below(folder, ('.xml',)))
    if not stems and not lists:
        raise DataError(f'{folder}: there is no XML file in this folder.' if folder.is_dir() else
                        f'{folder}: no such folder of annotations.')
    known = lists if lists is not None else {path / 'ImageSets' / 'Main' / f'{split}.txt': split for split in LISTS}
    members: list[tuple[str, str]] = []
    for file, split in known.items():
        if lists is None and not file.is_file():
            continue
        try:
            names, findings = list_names(file)
            table.findings += findings
        except DataError as error:
            table.findings.append(Finding('error', 'unreadable_annotations', str(error).removeprefix(f'{file}: '),
                                          str(file)))
            continue
        for name, line in names.items():
            if os.path.isfile(folder / f'{name}.xml'):
                members.append((split, name))
            else:
                table.findings.append(Finding('error', 'missing_annotation', f'"{name}" is listed, but there is no '
                                              f'file {folder / name}.xml', str(file), f'line {line}', name))
    rest = [] if lists else sorted(set(stems) - {name for _, name in members})
    if members and rest:
        table.findings.append(Finding('info', 'not_listed', f'{len(rest)} annotations stand in no list of a split: '
                                      f'{", ".join(rest[:5])}', str(path / 'ImageSets' / 'Main')))
    return members + [('', name) for name in rest]


def _parse(file: str) -> tuple[Element | None, str]:
    """The root of an annotation, or what is wrong with the file."""
    try:
        root = parse_xml(file)
    except DataError as error:
        return None, str(error).removeprefix(f'{file}: ')
    return (root, '') if root.tag == 'annotation' else (
        None, f'expected <annotation> as the root of a VOC file, got <{root.tag}>')


def _image_file(images: Path, name: str, filename: str, listings: dict[str, dict[str, list[str]]]) -> str:
    """Path of the image of a name; ``listings`` remembers the folders, stem -> file names."""
    folder, stem = os.path.split(os.path.join(images, name))
    if folder not in listings:
        listing = listings[folder] = {}
        for file in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            base, suffix = os.path.splitext(file)
            if suffix.lower() in IMAGE_SUFFIXES:
                listing.setdefault(unicodedata.normalize('NFC', base), []).append(file)
    stated = os.path.splitext(filename)[1]
    files = listings[folder].get(unicodedata.normalize('NFC', stem), [
        stem + (stated if stated.lower() in IMAGE_SUFFIXES else '.jpg')])
    wanted = os.path.basename(filename)
    return os.path.join(folder, wanted if wanted in files else files[0])


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or '').strip()


def _size(table: DataTable, image: int, root: Element | None, side: str) -> float:
    text = '' if root is None else _text(root, f'size/{side}')
    value = _number(text or '0')
    if value is None or not 0 <= value < math.inf:
        table.tell_images('error', 'bad_size', [(image, f'<size/{side}> must be a number of pixels, got "{text}"')])
    return value if value is not None and 0 < value < math.inf else math.nan


def _read_object(table: DataTable, element: Element, place: Place,
                 image: int) -> tuple[str, list[float], int, bool]:
    """Class name, corners, row of the image, and whether the object is difficult."""
    name = unicodedata.normalize('NFC', _text(element, 'name'))
    box = [_number(_text(element, f'bndbox/{side}')) for side in SIDES]
    number = len(table.box_places)
    table.box_places.append(place)
    faults = {'bad_box': f'("{name}") needs a <bndbox> with numbers xmin, ymin, xmax, ymax'} if None in box else {}
    if not name:
        faults['no_category'] = '("") has no <name>'
    table.findings += [Finding('error', code, text, place.file, place.row, image=image, box=number)
                       for code, text in faults.items()]
    corners = [math.nan] * 4 if None in box else box
    return name, corners, image, _text(element, 'difficult') not in ('', '0')


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
