"""The TFRecord files of the Comparison detector, read without TensorFlow.

Three layers, each as small as the format allows: the framing of TFRecord (length, masked CRC-32C of the length, data,
masked CRC-32C of the data; tensorflow.org/tutorials/load_data/tfrecord), the protocol buffer ``tf.train.Example`` (a
map from names to lists of bytes, floats or integers), and the features of this data set:

========================  =======  ===============================================================================
``img_name``              bytes    file name of the image
``img_height``            int64    pixels
``img_width``             int64    pixels
``img``                   bytes    height * width * 3 uint8, RGB, row by row
``gtboxes_and_label``     bytes    N * 5 int32 (little-endian): ymin, xmin, ymax, xmax, label 1..11; *inclusive* pixel
                                   corners (xmax = x + w - 1)
========================  =======  ===============================================================================

Source: Liang et al., "Comparison detector for cervical cell/clumps detection in the limited data scenario",
Neurocomputing 437, 2021; the set is published by CVIU-CSU as COCO JSON too, in which case no conversion is needed.
"""
import os
import struct
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cxrdet.core.errors import DataError
from cxrdet.datasets.cell_classes import CDETECTOR_CLASSES
from cxrdet.datasets.formats.crc32c import masked_crc32c


@dataclass
class CDetectorExample:
    """One image of the Comparison detector's set.

    Attributes:
        name: file name of the image as stored.
        image: (H, W, 3) uint8, RGB.
        boxes: (N, 4) int64 xyxy in pixels, continuous corners (the stored inclusive xmax and ymax plus 1).
        labels: (N,) int64, index into :data:`~.cell_classes.CDETECTOR_CLASSES` (the stored label minus 1).
    """

    name: str
    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray


class Span(NamedTuple):
    """Where a record lies: its number in the file from 0, the byte it begins at, and the length of its data."""

    number: int
    offset: int
    length: int


def record_spans(path: str | Path) -> Iterator[Span]:
    """The records of a TFRecord file, by their lengths (and the checksums of these) only.

    Raises:
        DataError: the file is missing, empty, compressed, cut off, or the checksum of a length is wrong (with number
            and byte offset of the record).
    """
    try:
        stream = open(path, 'rb')
    except OSError as error:
        raise DataError(f'{path}: cannot read the TFRecord file: {error.strerror or error}.') from None
    with stream:
        size = os.fstat(stream.fileno()).st_size
        if size == 0:
            raise DataError(f'{path}: the TFRecord file is empty (0 bytes).')
        number = offset = 0
        while offset < size:
            stream.seek(offset)
            head = stream.read(12)
            where = _where(path, number, offset)
            if head.startswith(b'\x1f\x8b') and offset == 0:
                raise DataError(f'{path}: the file is compressed by gzip; unpack it first.')
            if len(head) < 12:
                raise DataError(f'{where}: the file is truncated: {len(head)} bytes are left, a record needs 16.')
            length, check = struct.unpack('<QI', head)
            if masked_crc32c(head[:8]) != check:
                raise DataError(f'{where}: wrong checksum of the length; the file is damaged, or no TFRecord file.')
            if length + 16 > size - offset:
                raise DataError(f'{where}: the file is truncated: the record has {length + 16} bytes, '
                                f'{size - offset} are left.')
            yield Span(number, offset, length)
            number, offset = number + 1, offset + length + 16


def _where(path: str | Path, number: int, offset: int) -> str:
    return f'{path}: record {number} at byte {offset}'


def read_record(path: str | Path, span: Span) -> bytes:
    """The data of a record.

    Raises:
        DataError: the file is shorter than it was, or the checksum is wrong.
    """
    with open(path, 'rb') as stream:
        stream.seek(span.offset + 12)
        data, check = stream.read(span.length), stream.read(4)
    if len(check) < 4 or masked_crc32c(data) != struct.unpack('<I', check)[0]:
        raise DataError(f'{_where(path, span.number, span.offset)}: wrong checksum of the data; the file is damaged.')
    return data


def read_records(path: str | Path) -> Iterator[tuple[Span, bytes]]:
    """Place and data of the records of a TFRecord file, one after the other.

    Raises:
        DataError: as :func:`record_spans` and :func:`read_record` do.
    """
    for span in record_spans(path):
        yield span, read_record(path, span)


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


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of the fields of a protocol buffer message; length-delimited and fixed values as bytes."""
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


def parse_example(data: bytes | memoryview, *, views: Container[str] = ()) -> dict[str, list]:
    """Features of a serialized ``tf.train.Example``: name -> list of bytes, of ints or of floats.

    Args:
        data: the message.
        views: names of features whose bytes are not copied: they come as views of ``data``.

    Raises:
        ValueError: the data are no such message.
    """
    features: dict[str, list] = {}
    try:
        for number, message in _fields(memoryview(data)):
            for entry_number, entry in _fields(message) if number == 1 else ():
                if entry_number == 1:
                    pair = dict(_fields(entry))
                    name = pair[1].tobytes().decode()
                    features[name] = _feature(pair.get(2, memoryview(b'')), name in views)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f'not a tf.train.Example ({error})') from None
    return features


def _feature(data: memoryview, view: bool) -> list:
    values: list = []
    for kind, items in _fields(data):
        for number, item in _fields(items):
            if number != 1:
                continue
            if kind == 1:
                values.append(item if view else item.tobytes())
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


def read_cdetector(path: str | Path) -> Iterator[CDetectorExample]:
    """Images with boxes of a TFRecord file of the Comparison detector, one after the other.

    Raises:
        DataError: as :func:`read_records` does; or a record is no ``Example``, lacks a feature, or its numbers do not
            fit together (with the number and the byte offset of the record).
    """
    for span, data in read_records(path):
        with record_errors(path, span):
            yield cdetector_example(parse_example(data))


@contextmanager
def record_errors(path: str | Path, span: Span) -> Iterator[None]:
    """Makes a DataError that names the record of a ValueError (UnicodeDecodeError is one)."""
    try:
        yield
    except ValueError as error:
        raise DataError(f'{_where(path, span.number, span.offset)}: {error}.') from None


def cdetector_example(features: dict[str, list]) -> CDetectorExample:
    """The image and the boxes of a record; the labels must be those of the set.

    Raises:
        ValueError: a feature is missing, or the numbers do not fit together.
    """
    name, image, table = cdetector_parts(features)
    labels = table[:, 4]
    if labels.size and (labels.min() < 1 or labels.max() > len(CDETECTOR_CLASSES)):
        raise ValueError(f'"{name}": labels {sorted(set(labels.tolist()))}, expected 1 to {len(CDETECTOR_CLASSES)}')
    return CDetectorExample(name, image, continuous_boxes(table), labels - 1)


def continuous_boxes(rows: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) int64 xyxy, continuous corners, of stored rows (N, 5): ymin, xmin, ymax, xmax (inclusive), label."""
    return rows[:, [1, 0, 3, 2]] + np.array([0, 0, 1, 1])


def cdetector_parts(features: dict[str, list]) -> tuple[str, np.ndarray, np.ndarray]:
    """Name, image (H, W, 3) uint8 RGB and rows (N, 5) int64, as they are stored, of a record.

    Raises:
        ValueError: a feature is missing, or the numbers do not fit together.
    """
    def one(key: str, *kinds: type):
        values = features.get(key)
        if values is None or len(values) != 1 or not isinstance(values[0], kinds):
            raise ValueError(f'expected one value ({kinds[0].__name__}) in the feature "{key}"; the record has '
                             f'{ {name: len(items) for name, items in features.items()} } (feature: number of values)')
        return values[0]

    name = one('img_name', bytes).decode()
    height, width, pixels, rows = (one('img_height', int), one('img_width', int), one('img', bytes, memoryview),
                                   one('gtboxes_and_label', bytes))
    if height <= 0 or width <= 0 or len(pixels) != height * width * 3:
        raise ValueError(f'"{name}": {len(pixels)} bytes of pixels, expected {height} x {width} x 3')
    if len(rows) % 20:
        raise ValueError(f'"{name}": {len(rows)} bytes in "gtboxes_and_label", expected rows of five int32 (20 bytes)')
    table = np.frombuffer(rows, '<i4').reshape(-1, 5).astype(np.int64)
    return name, np.frombuffer(pixels, np.uint8).reshape(height, width, 3), table
