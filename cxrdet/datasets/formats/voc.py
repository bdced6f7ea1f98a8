"""Pascal VOC annotations: one XML file per image, parsed safely, and read to the end whatever is wrong in them.

Format: Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010. What a
file needs is ``<object>`` elements with ``<name>`` and ``<bndbox>``; ``<size>``, ``<filename>`` and
``<difficult>`` are used where they are. ``Annotations/case1/a.xml``, as CVAT writes it, is of the
image ``case1/a``.
"""
import math
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.files import read_text
from cxrdet.core.issues import DataTable, Finding, Place, raise_errors
from cxrdet.core.paths import within
from cxrdet.datasets.formats.files import (
    IMAGE_SUFFIXES,
    annotation_files,
    files_below,
    find_by_name,
    first_bytes,
    split_of,
)
from cxrdet.datasets.formats.table_builder import as_flag, as_number

_VOC = re.compile(r'<annotation[\s>]')
_IMAGE_FOLDERS = ('JPEGImages', 'images', 'Images', 'imgs', 'img')
CORNERS = ('exclusive', 'inclusive')
LISTS = ('train', 'val', 'test')
SIDES = ('xmin', 'ymin', 'xmax', 'ymax')


def recognises(path: Path) -> bool:
    """A folder with ``Annotations/*.xml``, or with VOC files in it or below."""
    return path.is_dir() and (_is_published(path) or any(map(_is_voc, annotation_files(path, '.xml'))))


def _is_published(path: Path) -> bool:
    return any(files_below(path / 'Annotations', ('.xml',)))


def _is_voc(file: str | Path) -> bool:
    return _VOC.search(first_bytes(file)) is not None


def read(path: Path, images: Path | None = None, *, annotations: Path | None = None,
         lists: Mapping[Path, str] | None = None, corners: str = 'exclusive') -> DataTable:
    """A folder with ``Annotations/*.xml``, ``JPEGImages/`` and, for splits, ``ImageSets/Main/{train,val,test}.txt``.

    Where there is no ``Annotations``, all VOC files below are read: with the images beside them, as
    labelImg and Roboflow write them, ``annotations/`` beside ``images/``, or several VOC folders. A
    split is a folder ``train``, ``val`` … then, where no list says it.

    An annotation that cannot be parsed keeps its image in the table, without a box. The image of
    ``<name>.xml`` is ``<name>`` with one of :data:`~cxrdet.datasets.formats.files.IMAGE_SUFFIXES`
    (any case); what ``<filename>`` says decides between several. Geometry is not judged here.

    Args:
        path: The folder.
        images, annotations: Folders of images and of XML files, where they are not the usual ones.
        lists: List of names -> split, to read these only; by default those that are there, and the
            rest without split.
        corners: What the four numbers mean. ``'exclusive'``: corners of the box in continuous image
            coordinates, taken as they are, ``width = xmax - xmin``. ``'inclusive'``: indices of the
            first and last pixel, counted from 1, as the VOC development kit says: the box is
            ``(xmin - 1, ymin - 1, xmax, ymax)``.

    Raises:
        DataError: There is no annotation.
        ConfigError: ``corners`` is neither.
    """
    check_corners(corners)
    if annotations is None and not _is_published(path) and (places := list(_places_below(path, images))):
        return _read_places(places, lists, corners, images or path)
    there = next((path / name for name in _IMAGE_FOLDERS if (path / name).is_dir()), path / _IMAGE_FOLDERS[0])
    place = path, images or there, annotations or path / 'Annotations', None
    return _read_places([place], lists, corners, images or path)


def _places_below(path: Path, images: Path | None) -> Iterator[tuple[Path, Path, Path, str]]:
    found = set()
    for file in filter(_is_voc, files_below(path, ('.xml',))):
        parts = Path(os.path.relpath(file, path)).parts[:-1]
        depth = next((k for k, part in enumerate(parts, 1) if part.lower() == 'annotations'), len(parts))
        found.add(os.path.normpath(os.path.join(path, *parts[:depth])))
    for folder in map(Path, sorted(found)):
        if within(folder, (other for other in found if other != str(folder))):
            continue  # read with the folder around it
        apart = folder.name.lower() == 'annotations' and folder != path
        root = folder.parent if apart else folder
        beside = next((root / name for name in _IMAGE_FOLDERS if apart and (root / name).is_dir()), root)
        prefix = os.path.relpath(root, path)
        yield root, images or beside, folder, '' if prefix == os.curdir else f'{Path(prefix).as_posix()}/'


def _read_places(places: Iterable[tuple[Path, Path, Path, str | None]], lists: Mapping[Path, str] | None,
                 corners: str, around: Path) -> DataTable:
    """One table of VOC folders: the folder of each, of its images, of its XML files, and what stands before the names
    of its images; the folders in a name tell its split then, not so where it is None. What is not among its images is
    looked for by name ``around``."""
    table = DataTable('voc', source={})
    sizes: list[list[float]] = []
    boxes: list[tuple] = []
    listings: dict[str, dict[str, list[str]]] = {}
    for path, images, folder, prefix in places:
        if str(images) not in table.folders:
            table.folders.append(str(images))
        for split, stem in _members(table, path, folder, lists):
            name, file, image = (prefix or '') + stem, str(folder / f'{stem}.xml'), len(table.names)
            if table.source.get(name) is None:
                table.source[name] = table.attempt(_parse, file, image=image)
            root = table.source[name]
            found = _image_file(images, stem, '' if root is None else _text(root, 'filename'), listings)
            table.add_image(name, found, Place(file), split=split or ('' if prefix is None else split_of(name)))
            sizes.append([_size(table, image, root, side) for side in ('height', 'width')])
            for number, element in enumerate(() if root is None else root.findall('object')):
                boxes.append(_read_object(table, element, Place(file, f'object {number + 1}', number), image))
    find_by_name(table, around)
    names, corner_values, image_rows, difficult = zip(*boxes) if boxes else ((), (), (), ())
    table.classes = tuple(sorted(set(names) - {''}))
    labels = {name: number for number, name in enumerate(table.classes)}
    shift = [1, 1, 0, 0] if corners == 'inclusive' else [0, 0, 0, 0]
    table.finish(sizes, np.array(corner_values, np.float64).reshape(-1, 4) - shift, image_rows,
                 [labels.get(name, -1) for name in names], difficult)
    return table


def check_corners(corners: str) -> None:
    """Raise :class:`ConfigError` unless ``corners`` is one of the known meanings."""
    if corners not in CORNERS:
        raise ConfigError(f'corners must be "exclusive" or "inclusive", got {corners!r}.')


def parse_xml(path: str | Path) -> Element:
    """Parse an XML file without expanding entities and without opening anything that it names.

    Raises:
        DataError: the file is missing, empty, malformed (with line and column) or declares
            entities.
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
        DataError: the file is missing, empty, not UTF-8 text, or names an image twice (with the
            lines).
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
        names, findings = table.attempt(list_names, file) or ({}, [])
        table.findings += findings
        for name, line in names.items():
            if os.path.isfile(folder / f'{name}.xml'):
                members.append((split, name))
            else:
                table.tell('error', 'missing_annotation', f'"{name}" is listed, but there is no file '
                           f'{folder / name}.xml', Place(str(file), f'line {line}', line, name))
    rest = [] if lists else sorted(set(stems) - {name for _, name in members})
    if members and rest:
        table.tell('info', 'not_listed', f'{len(rest)} annotations stand in no list of a split: {", ".join(rest[:5])}',
                   Place(str(path / 'ImageSets' / 'Main')))
    return members + [('', name) for name in rest]


def _parse(file: str) -> Element:
    root = parse_xml(file)
    if root.tag != 'annotation':
        raise DataError(f'{file}: expected <annotation> as the root of a VOC file, got <{root.tag}>')
    return root


def _image_file(images: Path, name: str, filename: str, listings: dict[str, dict[str, list[str]]]) -> str:
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


def _is_difficult(table: DataTable, element: Element, place: Place, image: int) -> bool:
    text = _text(element, 'difficult')
    flag = as_flag(text or '0')
    if flag is None:
        table.tell('error', 'bad_flag', f'<difficult> must be 0 or 1, got "{text:.40}"', place, image=image,
                   box=len(table.box_places) - 1)
    return bool(flag)


def _size(table: DataTable, image: int, root: Element | None, side: str) -> float:
    text = '' if root is None else _text(root, f'size/{side}')
    value = as_number(text or '0')
    if not 0 <= value < math.inf:
        table.tell_image('error', 'bad_size', f'<size/{side}> must be a number of pixels, got "{text}"', image)
    return value


def _read_object(table: DataTable, element: Element, place: Place,
                 image: int) -> tuple[str, list[float], int, bool]:
    name = unicodedata.normalize('NFC', _text(element, 'name'))
    outline = element.find('bndbox')
    box = [math.nan] * 4 if outline is None else [as_number(outline.findtext(side)) for side in SIDES]
    number = len(table.box_places)
    table.box_places.append(place)
    bad = any(map(math.isnan, box))
    for applies, code, text in ((bad, 'bad_box', 'needs a <bndbox> with numbers xmin, ymin, xmax, ymax'),
                                (not name, 'no_category', 'has no <name>')):
        if applies:
            table.tell('error', code, f'("{name}") {text}', place, image=image, box=number)
    return name, [math.nan] * 4 if bad else box, image, _is_difficult(table, element, place, image)
