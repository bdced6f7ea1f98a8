"""What the header of an image file says: format, size, frames, orientation. Nothing is decoded here.

Sizes are asked before anything is decoded, so that a small file that claims to be huge costs no memory. TIFF, whose
header is the whole file, is left to :mod:`cxrdet.datasets.formats.tiff`.
"""
import re
import struct
from typing import NamedTuple

REPLACE = 'Replace the file, or take it out of the annotations.'

TIFF_MAGIC = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')  # the last two: BigTIFF
_EXIF_ORIENTATION = 0x0112
_NO_LENGTH = {0x01, *range(0xD0, 0xD9)}  # markers of JPEG without a segment
_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_GAP = rb'(?:\s|#[^\n\r]*[\n\r])+'
_PNM = re.compile(rb'P[1-6Ff]' + _GAP + rb'(\d+)' + _GAP + rb'(\d+)\s')
_PAM = re.compile(rb'^(WIDTH|HEIGHT)\s+(\d+)\s*$', re.MULTILINE)
_RADIANCE = re.compile(rb'([-+][XY])\s*\+?(\d+)\s*[-+][XY]\s*\+?(\d+)\D')


class ImageHeader(NamedTuple):
    """What the header says.

    Attributes:
        kind: the format, one of :data:`KINDS`.
        height, width: in pixels, as stored, before any turn.
        frames: images in the file: pages, or frames of an animation.
        orientation: 1 to 8 as in EXIF; 1: as stored.
        channels: of a JPEG; 0 for other formats.
        inverted: a JPEG with Adobe's marker; its CMYK values are stored as 255 - ink.
    """

    kind: str
    height: int
    width: int
    frames: int = 1
    orientation: int = 1
    channels: int = 0
    inverted: bool = False


def read_header(data: bytes) -> ImageHeader | None:
    """The header of ``data``, a whole file; ``None`` where no format is known, or the header is cut off or damaged."""
    for magics, read in _READERS:
        if data.startswith(magics):
            try:
                header = read(data)
            except (struct.error, IndexError, ValueError):
                return None
            return header if header and header.height > 0 and header.width > 0 else None
    return _read_avif(data) if data[4:8] == b'ftyp' else None


def _read_png(data: bytes) -> ImageHeader:
    width, height = struct.unpack_from('>II', data, 16)
    frames, turn = 1, 1
    place = 8
    while place + 8 <= len(data):
        length, name = struct.unpack_from('>I4s', data, place)
        if name == b'acTL':
            frames = max(struct.unpack_from('>I', data, place + 8)[0], 1)
        elif name == b'eXIf':
            turn = _orientation(data[place + 8:place + 8 + length])
        elif name == b'IEND':
            break
        place += length + 12
    return ImageHeader('PNG', height, width, frames, turn)


def _read_jpeg(data: bytes) -> ImageHeader | None:
    turn, inverted, size = 1, False, None
    place = 2
    while size is None or data[place + 1] != 0xDA:  # until the start of the scan
        if data[place] != 0xFF:  # bytes between segments; libjpeg skips them, too
            place = data.index(b'\xff', place)
        marker = data[place + 1]
        if marker in _NO_LENGTH or marker in (0x00, 0xFF):
            place += 1 if marker in (0x00, 0xFF) else 2
            continue
        if marker in (0xD9, 0xDA):
            return None
        length, = struct.unpack_from('>H', data, place + 2)
        part = data[place + 4:place + 2 + length]
        if marker in _START_OF_FRAME:
            height, width, channels = struct.unpack_from('>xHHB', part)
            size = max(size or (0, 0, 0), (height, width, channels))
        elif marker == 0xE1 and part.startswith(b'Exif\0\0'):
            turn = _orientation(part[6:])
        elif marker == 0xEE and part.startswith(b'Adobe'):
            inverted = True
        place += 2 + length
    return ImageHeader('JPEG', *size[:2], orientation=turn, channels=size[2], inverted=inverted)


def _read_bmp(data: bytes) -> ImageHeader:
    old = struct.unpack_from('<I', data, 14)[0] == 12  # OS/2, version 1
    width, height = struct.unpack_from('<HH' if old else '<ii', data, 18)
    return ImageHeader('BMP', abs(height), abs(width))


def _read_gif(data: bytes) -> ImageHeader:
    """Size of the screen, or of what its frames reach beyond it; frames are counted up to where the file ends."""
    width, height, flags = struct.unpack_from('<HHB', data, 6)
    place = 13 + _colours(flags)
    frames = 0
    while place < len(data) and data[place] != ord(';'):
        if data[place] not in b'!,':  # bytes between blocks; decoders skip them, too
            place += 1
            continue
        if data[place] == ord(','):
            left, top, wide, high, flags = struct.unpack_from('<4HB', data, place + 1)
            width, height, frames = max(width, left + wide), max(height, top + high), frames + 1
            place += 11 + _colours(flags)
        else:
            place += 2
        while place < len(data) and data[place]:  # blocks of up to 255 bytes, closed by one without any
            place += data[place] + 1
        place += 1
    return ImageHeader('GIF', height, width, max(frames, 1))


def _colours(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _read_webp(data: bytes) -> ImageHeader | None:
    if data[8:12] != b'WEBP':
        return None
    size, frames, turn = None, 0, 1
    place = 12
    while place + 8 <= len(data):
        name, length = struct.unpack_from('<4sI', data, place)
        part = data[place + 8:place + 8 + min(length, 2 ** 16)]
        if name == b'VP8X':
            size = size or (1 + int.from_bytes(part[7:10], 'little'), 1 + int.from_bytes(part[4:7], 'little'))
        elif name == b'VP8 ':
            width, height = struct.unpack_from('<HH', part, 6)
            size = size or (height & 0x3FFF, width & 0x3FFF)
        elif name == b'VP8L':
            bits, = struct.unpack_from('<I', part, 1)
            size = size or (1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF))
        elif name == b'ANMF':
            frames += 1
        elif name == b'EXIF':
            turn = _orientation(part.removeprefix(b'Exif\0\0'))
        place += 8 + length + length % 2
    return size and ImageHeader('WEBP', *size, max(frames, 1), turn)


def _read_jpeg2000(data: bytes) -> ImageHeader | None:
    """The size that the code stream gives, which may differ from that of the box."""
    place = 0
    while data[place:place + 4] != b'\xff\x4f\xff\x51':  # the boxes before the code stream, and its box's own head
        length, name = struct.unpack_from('>I4s', data, place)
        head = 8
        if length == 1:
            length, head = struct.unpack_from('>Q', data, place + 8)[0], 16
        place += head if name == b'jp2c' else length
        if name != b'jp2c' and length < head:
            return None
    right, bottom, left, top = struct.unpack_from('>4I', data, place + 8)
    return ImageHeader('JPEG 2000', bottom - top, right - left)


def _read_pnm(data: bytes) -> ImageHeader | None:
    if data.startswith(b'P7'):
        head, end, _ = data[:2 ** 12].partition(b'\nENDHDR')
        sides = dict(_PAM.findall(head)) if end else {}
        return ImageHeader('PNM', int(sides.get(b'HEIGHT', 0)), int(sides.get(b'WIDTH', 0)))
    found = _PNM.match(data[:2 ** 12])
    return found and ImageHeader('PNM', int(found[2]), int(found[1]))


def _read_radiance(data: bytes) -> ImageHeader | None:
    """The largest of all sizes that the text at the beginning names: which of them a decoder takes differs."""
    found = [(int(first), int(second)) if axis.endswith(b'Y') else (int(second), int(first))
             for axis, first, second in _RADIANCE.findall(data[:2 ** 12])]
    return ImageHeader('Radiance HDR', *max(found, key=lambda size: size[0] * size[1])) if found else None


def _read_sun(data: bytes) -> ImageHeader:
    width, height = struct.unpack_from('>II', data, 4)
    return ImageHeader('Sun raster', height, width)


def _read_avif(data: bytes) -> ImageHeader | None:
    """The largest of all extents in the file: that of the whole, where it is put together from several."""
    brands = data[8:struct.unpack_from('>I', data)[0]]
    places = [found.end() for found in re.finditer(b'ispe', data)]
    sizes = [struct.unpack_from('>II', data, place + 4) for place in places if place + 12 <= len(data)]
    if b'avif' not in brands and b'avis' not in brands or not sizes:
        return None
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return ImageHeader('AVIF', height, width, 2 if brands[:4] == b'avis' else 1) if width and height else None


def _orientation(exif: bytes) -> int:
    try:
        order = {b'II': '<', b'MM': '>'}[exif[:2]]
        start, = struct.unpack_from(order + 'I', exif, 4)
        count, = struct.unpack_from(order + 'H', exif, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + 'HH', exif, place)
            if tag == _EXIF_ORIENTATION:
                value, = struct.unpack_from(order + ('I' if kind == 4 else 'H'), exif, place + 8)
                return value if value in range(1, 9) else 1
    except (struct.error, KeyError):
        pass
    return 1


_READERS = (
    (b'\x89PNG\r\n\x1a\n', _read_png), (b'\xff\xd8', _read_jpeg), (b'BM', _read_bmp),
    ((b'GIF87a', b'GIF89a'), _read_gif), (b'RIFF', _read_webp),
    ((b'\0\0\0\x0cjP  \r\n\x87\n', b'\xff\x4f\xff\x51'), _read_jpeg2000),
    (tuple(f'P{kind}'.encode() for kind in '1234567Ff'), _read_pnm), ((b'#?RADIANCE', b'#?RGBE'), _read_radiance),
    (b'\x59\xa6\x6a\x95', _read_sun))
KINDS = ('PNG', 'JPEG', 'BMP', 'GIF', 'WEBP', 'TIFF', 'JPEG 2000', 'PNM', 'AVIF', 'Radiance HDR', 'Sun raster')
