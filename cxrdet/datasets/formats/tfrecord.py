"""The TFRecord files of the Comparison detector, read without TensorFlow, and the images within them.

A record is framed by its length and two masked CRC-32C, of the length and of the data (tensorflow.org/tutorials/
load_data/tfrecord). The data are a protocol buffer ``tf.train.Example``, a map from names to lists of bytes, floats or
integers, of which this set uses:

========================  =======  ===============================================================================
``img_name``              bytes    file name of the image
``img_height``            int64    pixels
``img_width``             int64    pixels
``img``                   bytes    height * width * 3 uint8, RGB, row by row
``gtboxes_and_label``     bytes    N * 5 int32 (little-endian): ymin, xmin, ymax, xmax, label 1..11; *inclusive* pixel
                                   corners (xmax = x + w - 1)
========================  =======  ===============================================================================

An image has a path like a file: ``train.tfrecord@1234/a.jpg`` is the image ``a.jpg`` of the record at byte 1234.
Reading a set reads all but the pixels, some hundred bytes an image; the checksum of the data is looked at where an
image is read with ``check``, as ``cxrdet check-data`` does.

Source: Liang et al., "Comparison detector for cervical cell/clumps detection in the limited data scenario",
Neurocomputing 437, 2021; the set is published by CVIU-CSU as COCO JSON too.
"""
import hashlib
import mmap
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c
import numpy as np

from cxrdet.core.errors import DataError
from cxrdet.core.issues import DataTable, Place

CDETECTOR_CLASSES = ('ascus', 'asch', 'lsil', 'hsil', 'scc', 'agc', 'trichomonas', 'candida', 'flora', 'herps',
                     'actinomyces')
"""The 11 cervical classes in the order and spelling of the Comparison detector's files ("herps" is theirs)."""
_SHARD = re.compile(r'[-_.]?\d+([-_]of[-_]\d+)?$')
_SUFFIXES = ('', '.tfrecord', '.tfrecords', '.record', '.records')
_SAMPLE = 4096  # bytes of the pixels in the middle
_PATH = re.compile(r'(?P<file>.+)@(?P<offset>\d+)/[^/]*', re.DOTALL)


class Span(NamedTuple):
    """Where a record lies: its number in the file from 0, the byte it begins at, and the length of its data."""

    number: int
    offset: int
    length: int

    def __str__(self) -> str:
        return f'record {self.number} at byte {self.offset}'


def record_files(path: str | Path) -> list[Path]:
    """The TFRecord files that a path means: itself, or all in a folder whose names hold "record", sorted.

    Raises: DataError if there is none.
    """
    path = Path(path)
    if not path.is_dir():
        if not path.is_file():
            raise DataError(f'{path}: no such TFRecord file, or folder of such.')
        return [path]
    files = sorted(file for file in path.iterdir() if file.is_file() and 'record' in file.name.lower()
                   and not file.name.startswith('.'))
    if not files:
        raise DataError(f'{path}: there is no TFRecord file in this folder; looked for names that hold "record".')
    return files


def recognises(path: Path) -> bool:
    """A file with the suffix of a TFRecord file or none, whose name holds "record", or a folder with one."""
    if path.is_dir():
        return any(map(recognises, filter(Path.is_file, path.iterdir())))
    return 'record' in path.name.lower() and path.suffix.lower() in _SUFFIXES


def read(path: Path, images: Path | None = None, *, files: list[Path] | None = None) -> DataTable:
    """One file, or all in a folder whose names hold "record"; a file is a split, shards of one name are one.

    ``train-00000-of-00010.tfrecord`` is of the split ``train``. Of a torn file the records before the tear are read.

    ``source`` of the table: a key of each image, the digest of its size and of some pixels of the middle -> its path.

    Args:
        path: The file or the folder.
        images: Not looked at: the files hold their images.
        files: The files of one set without splits, to read these only.

    Raises:
        DataError: There is no file.
    """
    table = DataTable('tfrecord', CDETECTOR_CLASSES, source={})
    sizes, rows, owners = [], [np.zeros((0, 5), np.int64)], [np.zeros(0, np.int64)]
    taken: dict[tuple[str, str], str] = {}

    def read_file(file: Path) -> None:
        stem = file.name.split('.')[0]
        split = (_SHARD.sub('', stem) or stem) if files is None else ''
        for span, name, image, boxes in _images(table, file):
            inside = f'{file}@{span.offset}/{name}'
            place = Place(str(file), f'record {span.number}', span.number, span.offset)
            own = table.add_image(name, inside, place, split=split)
            table.box_places += [Place(str(file), f'{place.row}, box {box}', span.number) for box in range(len(boxes))]
            table.source[_key(image)] = inside
            sizes.append(image.shape[:2])
            rows.append(boxes)
            owners.append(np.full(len(boxes), own))
            other = taken.setdefault((split, os.path.splitext(name)[0]), inside)
            if other != inside:
                table.tell_image('error', 'image_name_twice', f'"{name}" has the name of an image before it: {other}',
                                 own)

    for file in record_files(path) if files is None else files:
        table.attempt(read_file, file)
    stored = np.concatenate(rows)
    known = (stored[:, 4] >= 1) & (stored[:, 4] <= len(CDETECTOR_CLASSES))
    table.finish(sizes, stored[:, [1, 0, 3, 2]] + [0, 0, 1, 1], np.concatenate(owners),
                 np.where(known, stored[:, 4] - 1, -1))
    for box in np.flatnonzero(~known).tolist():
        table.findings.append(table.about_box('error', 'unknown_category', f'the box has the label {stored[box, 4]}, '
                                              f'expected 1 to {len(CDETECTOR_CLASSES)}', box))
    return table


def _images(table: DataTable, file: Path) -> Iterator[tuple[Span, str, np.ndarray, np.ndarray]]:
    """Span, name, image and rows of the records of a file; records that are no such are told."""
    content = _mapped(file)
    for span in record_spans(file, content):
        try:
            name, image, rows = _parts(content[span.offset + 12:span.offset + 12 + span.length])
        except ValueError as error:  # UnicodeDecodeError is one
            table.tell('error', 'bad_image', f'{span}: {error}', Place(str(file)))
            continue
        yield span, re.split(r'[/\\]', name)[-1], image, rows


def _mapped(path: str | Path) -> memoryview:
    try:
        with open(path, 'rb') as stream:
            if not os.fstat(stream.fileno()).st_size:
                raise DataError(f'{path}: the TFRecord file is empty (0 bytes).')
            return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise DataError(f'{path}: cannot read the TFRecord file: {error.strerror or error}.') from None


def _key(image: np.ndarray) -> str:
    pixels = image.reshape(-1)
    middle = max(0, (len(pixels) - _SAMPLE) // 2)
    return hashlib.sha1(repr(image.shape).encode() + pixels[middle:middle + _SAMPLE].tobytes()).hexdigest()


def split_record_path(path: str | Path) -> tuple[str, int] | None:
    """TFRecord file and byte offset of the record; None for a path of an image file."""
    found = _PATH.fullmatch(os.fspath(path))
    return None if found is None or not os.path.isfile(found['file']) else (found['file'], int(found['offset']))


def read_record_image(path: str | Path, *, check: bool = False) -> np.ndarray:
    """The image of a path in a TFRecord file, (H, W, 3) uint8, channels blue, green, red.

    Args:
        path: of the image.
        check: hold the data to their checksum, too.

    Raises:
        DataError: there is no such record any more, or it is damaged where that can be seen.
    """
    file, offset = split_record_path(path) or (os.fspath(path), -1)
    try:
        with open(file, 'rb') as stream:
            stream.seek(offset)
            head = stream.read(12)
            length = _length(head)
            data, tail = (b'', b'') if length is None else (stream.read(length), stream.read(4))
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: cannot read the record: {error}.') from None
    if len(tail) < 4:
        raise DataError(f'{path}: there is no whole record at byte {offset} of {file}; the file is damaged, or was '
                        'changed since it was indexed.')
    if check and masked_crc32c(data) != struct.unpack('<I', tail)[0]:
        raise DataError(f'{path}: wrong checksum of the data of the record at byte {offset}; the file is damaged.')
    try:
        return np.ascontiguousarray(_parts(memoryview(data))[1][..., ::-1])
    except ValueError as error:
        raise DataError(f'{path}: {error}.') from None


# ------------------------------------------------------------------------------------------------- records

def record_spans(path: str | Path, data: bytes | memoryview) -> Iterator[Span]:
    """The records of a TFRecord file with the content ``data``, by their lengths and the checksums of these only.

    Raises:
        DataError: the file is compressed, cut off, or the checksum of a length is wrong (with number and byte offset of
            the record).
    """
    if data[:2] == b'\x1f\x8b':
        raise DataError(f'{path}: the file is compressed by gzip; unpack it first.')
    number = offset = 0
    while offset < len(data):
        head, left = data[offset:offset + 12], len(data) - offset
        span = Span(number, offset, _length(head) or 0)
        if len(head) < 12:
            raise DataError(f'{path}: {span}: the file is truncated: {left} bytes are left, a record needs 16.')
        if _length(head) is None:
            raise DataError(f'{path}: {span}: wrong checksum of the length; the file is damaged, or no TFRecord file.')
        if span.length + 16 > left:
            raise DataError(f'{path}: {span}: the file is truncated: the record has {span.length + 16} bytes, {left} '
                            'are left.')
        yield span
        number, offset = number + 1, offset + span.length + 16


def _length(head: bytes | memoryview) -> int | None:
    """The length of the data that the first 12 bytes of a record say; None where they are no such."""
    if len(head) < 12:
        return None
    length, check = struct.unpack('<QI', head)
    return length if masked_crc32c(head[:8]) == check else None


def masked_crc32c(data: bytes | memoryview) -> int:
    """CRC-32C (RFC 3720, appendix B.4) as TFRecord stores it: rotated right by 15 bits, plus a constant."""
    crc = google_crc32c.value(bytes(data))
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]  # IndexError at the end
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, at
        if shift > 63:
            raise ValueError('a varint of more than 10 bytes')


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Number and value of the fields of a protocol buffer message: int, or memoryview of length-delimited and fixed."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if wire == 2:
            length, at = _varint(data, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f'wire type {wire}')
        if at + length > len(data):
            raise ValueError('a field longer than its message')
        yield key >> 3, data[at:at + length]
        at += length


def parse_example(data: bytes | memoryview) -> dict[str, list]:
    """Features of a serialized ``tf.train.Example``: name -> list of views of ``data``, of ints or of floats.

    Raises:
        ValueError: the data are no such message.
    """
    features: dict[str, list] = {}
    try:
        for number, message in _fields(memoryview(data)):
            for entry_number, entry in _fields(message) if number == 1 else ():
                if entry_number == 1:
                    pair = dict(_fields(entry))
                    features[pair[1].tobytes().decode()] = _feature(pair.get(2, memoryview(b'')))
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f'not a tf.train.Example ({error})') from None
    return features


def _feature(data: memoryview) -> list:
    values: list = []
    for kind, items in _fields(data):
        for number, item in _fields(items):
            if number != 1:
                continue
            if kind == 1:
                values.append(item[:])
            elif kind == 2:
                values.extend(np.frombuffer(item, '<f4').tolist())
            elif isinstance(item, int):
                values.append(_signed(item))
            else:  # packed
                at = 0
                while at < len(item):
                    value, at = _varint(item, at)
                    values.append(_signed(value))
    return values


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _parts(data: memoryview) -> tuple[str, np.ndarray, np.ndarray]:
    """Name, image (H, W, 3) uint8 RGB and rows (N, 5) int64, as they are stored, of a record.

    Raises:
        ValueError: a feature is missing, or the numbers do not fit together.
    """
    features = parse_example(data)

    def one(key: str, kind: type):
        values = features.get(key)
        if values is None or len(values) != 1 or not isinstance(values[0], kind):
            there = {name: len(items) for name, items in features.items()}
            raise ValueError(f'expected one value ({"int" if kind is int else "bytes"}) in the feature "{key}"; the '
                             f'record has {there} (feature: number of values)')
        return values[0]

    name = one('img_name', memoryview).tobytes().decode()
    height, width, pixels, rows = (one('img_height', int), one('img_width', int), one('img', memoryview),
                                   one('gtboxes_and_label', memoryview))
    if height <= 0 or width <= 0 or len(pixels) != height * width * 3:
        raise ValueError(f'"{name}": {len(pixels)} bytes of pixels, expected {height} x {width} x 3')
    if len(rows) % 20:
        raise ValueError(f'"{name}": {len(rows)} bytes in "gtboxes_and_label", expected rows of five int32 (20 bytes)')
    table = np.frombuffer(rows, '<i4').reshape(-1, 5).astype(np.int64)
    return name, np.frombuffer(pixels, np.uint8).reshape(height, width, 3), table
