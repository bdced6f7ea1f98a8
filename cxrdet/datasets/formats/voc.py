"""Pascal VOC annotations: one XML file per image, parsed safely.

Format: Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010, and the development kit's
``Annotations/*.xml`` with ``ImageSets/Main/*.txt``. What a file needs is ``<object>`` elements with ``<name>`` and
``<bndbox>``; ``<size>``, ``<filename>`` and ``<difficult>`` are used where they are.
"""
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.files import read_text
from cxrdet.datasets.formats.coco import check_on_bad

CORNERS = ('exclusive', 'inclusive')
_HOW_TO_MEND = 'Mend the file, or set on_bad_annotation="drop" to leave such objects out and have them counted.'


@dataclass
class VocObject:
    """One labelled box: class name, xyxy with continuous corners in pixels, the flag ``difficult``."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool


@dataclass
class VocFile:
    """The contents of a VOC file.

    Attributes:
        filename: what ``<filename>`` says, ``''`` where it is missing.
        height, width: pixels as in ``<size>``, 0 where it is missing or says 0.
        objects: the boxes in the order of the file.
        dropped: number of objects left out for a structural defect, by reason (only with ``on_bad='drop'``).
    """

    filename: str
    height: int
    width: int
    objects: list[VocObject]
    dropped: Counter = field(default_factory=Counter)


def read_voc(path: str | Path, *, corners: str = 'exclusive', on_bad: str = 'error') -> VocFile:
    """Read one VOC annotation file.

    Args:
        path: the XML file. Entity declarations, internal or external, are refused: nothing is expanded or fetched.
        corners: what the four numbers mean. ``'exclusive'``: corners of the box in continuous image coordinates,
            taken as they are, ``width = xmax - xmin``. ``'inclusive'``: indices of the first and last pixel, counted
            from 1, as the VOC development kit says: the box is ``(xmin - 1, ymin - 1, xmax, ymax)``.
        on_bad: an object without name or without four numbers in its ``<bndbox>`` is an ``'error'``, or is left out
            and counted: ``'drop'``. Geometry is not judged here.

    Raises:
        DataError: the file is missing, malformed (with line and column), declares entities, is no VOC annotation, or
            has a defective object and ``on_bad='error'``.
        ConfigError: ``corners`` or ``on_bad`` is not one of the named.
    """
    check_on_bad(on_bad)
    if corners not in CORNERS:
        raise ConfigError(f'corners must be "exclusive" or "inclusive", got {corners!r}.')
    root = parse_xml(path)
    if root.tag != 'annotation':
        raise DataError(f'{path}: expected <annotation> as the root of a VOC file, got <{root.tag}>.')
    shift = 1.0 if corners == 'inclusive' else 0.0
    voc = VocFile(_text(root, 'filename'), _pixels(root, 'size/height', path), _pixels(root, 'size/width', path), [])
    for index, element in enumerate(root.findall('object')):
        name, box = _text(element, 'name'), _corners(element)
        reason = 'bad_bbox' if box is None else '' if name else 'no_name'
        if reason and on_bad == 'error':
            what = 'has no <name>' if reason == 'no_name' else 'needs a <bndbox> with numbers xmin, ymin, xmax, ymax'
            raise DataError(f'{path}: object {index + 1} ("{name}") {what}. {_HOW_TO_MEND}')
        if reason:
            voc.dropped[reason] += 1
            continue
        x1, y1, x2, y2 = box
        difficult = _text(element, 'difficult') not in ('', '0')
        voc.objects.append(VocObject(name, (x1 - shift, y1 - shift, x2, y2), difficult))
    return voc


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
    rows: dict[str, int] = {}
    for number, line in enumerate(read_text(path, 'list of images').splitlines(), 1):
        name = line.strip()
        if name in rows:
            raise DataError(f'{path}: lines {rows[name]} and {number} both name "{name}".')
        if name:
            rows[name] = number
    if not rows:
        raise DataError(f'{path}: the list of images is empty.')
    return list(rows)


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or '').strip()


def _pixels(root: Element, tag: str, path: str | Path) -> int:
    text = _text(root, tag)
    try:
        return max(0, int(float(text or 0)))
    except (ValueError, OverflowError):
        raise DataError(f'{path}: <{tag}> must be a number of pixels, got "{text}".') from None


def _corners(element: Element) -> tuple[float, float, float, float] | None:
    try:
        box = [float(element.findtext(f'bndbox/{corner}') or '') for corner in ('xmin', 'ymin', 'xmax', 'ymax')]
    except ValueError:
        return None
    return tuple(box)
