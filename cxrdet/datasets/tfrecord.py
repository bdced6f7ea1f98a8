"""The TFRecord files of the Comparison detector, read and converted to COCO without TensorFlow.

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
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.folders import OutputFolder
from cxrdet.core.paths import join_inside
from cxrdet.datasets.cell import CDETECTOR_CLASSES
from cxrdet.datasets.coco_io import write_json

_POLYNOMIAL = 0x82F63B78  # Castagnoli, reflected
IMAGE_SUFFIXES = ('.png', '.jpg')


@dataclass
class CDetectorExample:
    """One image of the Comparison detector's set.

    Attributes:
        name: file name of the image as stored.
        image: (H, W, 3) uint8, RGB.
        boxes: (N, 4) int64 xyxy in pixels, continuous corners (the stored inclusive xmax and ymax plus 1).
        labels: (N,) int64, index into :data:`~cxrdet.datasets.cell.CDETECTOR_CLASSES` (the stored label minus 1).
    """

    name: str
    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray


@lru_cache(maxsize=1)
def _crc_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ np.where(table & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    return table


def _apply(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Product over GF(2) of a 32 x 32 matrix (its columns as 32 integers) with each of ``values`` (uint32)."""
    result = np.zeros_like(values)
    for bit in range(32):
        result ^= np.where(values >> np.uint32(bit) & np.uint32(1), matrix[bit], np.uint32(0))
    return result


@lru_cache(maxsize=64)
def _zeros(length: int) -> np.ndarray:
    """The matrix, as 32 columns, that takes a CRC register across ``length`` zero bytes."""
    if length == 0:
        return np.uint32(1) << np.arange(32, dtype=np.uint32)
    if length % 2:
        columns = _zeros(length - 1)
        return _crc_table()[columns & np.uint32(255)] ^ (columns >> np.uint32(8))
    half = _zeros(length // 2)
    return _apply(half, half)


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli) of ``data``, as in RFC 3720, appendix B.4; ``crc32c(b'123456789') == 0xE3069283``.

    The data are cut into up to 4,096 lanes that NumPy takes through the table side by side; their registers are joined
    by the linearity of the CRC (register(A + B) = zeros(|B|) * register(A) xor register(B)). About 50 MB/s.
    """
    table = _crc_table()
    lanes = 1 << min(12, max(0, len(data).bit_length() - 7))
    # Starting from the register 0xFFFFFFFF equals starting from 0 with the first four bytes inverted; and a register of
    # 0 stays 0 through leading zeros, so that the front can be padded.
    padded = np.zeros(-(-max(len(data), 1) // lanes) * lanes, np.uint8)
    start = len(padded) - len(data)
    padded[start:] = np.frombuffer(data, np.uint8)
    if len(data) < 4:
        register = 0xFFFFFFFF
        for byte in bytes(data):
            register = int(table[(register ^ byte) & 255]) ^ (register >> 8)
        return register ^ 0xFFFFFFFF
    padded[start:start + 4] ^= np.uint8(255)
    columns = np.ascontiguousarray(padded.reshape(lanes, -1).T)
    registers = np.zeros(lanes, np.uint32)
    for column in columns:
        registers = table[(registers.astype(np.uint8)) ^ column] ^ (registers >> np.uint32(8))
    span = len(columns)
    while len(registers) > 1:
        registers = _apply(_zeros(span), registers[0::2]) ^ registers[1::2]
        span *= 2
    return int(registers[0]) ^ 0xFFFFFFFF


def masked_crc32c(data: bytes) -> int:
    """The checksum as TFRecord stores it: rotated right by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read_records(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """Offset and data of the records of a TFRecord file, one after the other.

    Raises:
        DataError: the file is missing, empty, compressed, cut off, or a checksum is wrong (with the byte offset).
    """
    try:
        stream = open(path, 'rb')
    except OSError as error:
        raise DataError(f'{path}: cannot read the TFRecord file: {error.strerror or error}.') from None
    with stream:
        size = os.fstat(stream.fileno()).st_size
        if size == 0:
            raise DataError(f'{path}: the TFRecord file is empty (0 bytes).')
        offset = 0
        while offset < size:
            head = stream.read(12)
            where = f'{path}: record at byte {offset}'
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
            data = stream.read(length)
            if masked_crc32c(data) != struct.unpack('<I', stream.read(4))[0]:
                raise DataError(f'{where}: wrong checksum of the data; the file is damaged.')
            yield offset, data
            offset += length + 16


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


def parse_example(data: bytes) -> dict[str, list]:
    """Features of a serialized ``tf.train.Example``: name -> list of bytes, of ints or of floats.

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
                values.append(item.tobytes())
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
            fit together (with the byte offset of the record).
    """
    for offset, data in read_records(path):
        try:
            yield _example(parse_example(data))
        except ValueError as error:  # UnicodeDecodeError is one
            raise DataError(f'{path}: record at byte {offset}: {error}.') from None


def _example(features: dict[str, list]) -> CDetectorExample:
    def one(key: str, kind: type):
        values = features.get(key)
        if values is None or len(values) != 1 or not isinstance(values[0], kind):
            raise ValueError(f'expected one value ({kind.__name__}) in the feature "{key}"; the record has '
                             f'{ {name: len(items) for name, items in features.items()} } (feature: number of values)')
        return values[0]

    name = one('img_name', bytes).decode()
    height, width, pixels, rows = (one('img_height', int), one('img_width', int), one('img', bytes),
                                   one('gtboxes_and_label', bytes))
    if height <= 0 or width <= 0 or len(pixels) != height * width * 3:
        raise ValueError(f'"{name}": {len(pixels)} bytes of pixels, expected {height} x {width} x 3')
    if len(rows) % 20:
        raise ValueError(f'"{name}": {len(rows)} bytes in "gtboxes_and_label", expected rows of five int32 (20 bytes)')
    table = np.frombuffer(rows, '<i4').reshape(-1, 5).astype(np.int64)
    labels = table[:, 4]
    if labels.size and (labels.min() < 1 or labels.max() > len(CDETECTOR_CLASSES)):
        raise ValueError(f'"{name}": labels {sorted(set(labels.tolist()))}, expected 1 to {len(CDETECTOR_CLASSES)}')
    boxes = table[:, [1, 0, 3, 2]] + np.array([0, 0, 1, 1])
    return CDetectorExample(name, np.frombuffer(pixels, np.uint8).reshape(height, width, 3), boxes, labels - 1)


def convert_cdetector(tfrecords: Iterable[str | Path], out_dir: str | Path, split: str, *, suffix: str = '.png',
                      progress: Callable[[Iterator], Iterable] = iter) -> dict[str, int]:
    """Convert TFRecord files to a COCO set: ``annotations/<split>.json`` and ``images/<split>/*``.

    All or nothing: a run that fails leaves what was there before, and a run may be repeated; files that were not
    written here are neither replaced nor deleted. Boxes are written as they are stored (degenerate ones too: the
    reader of the set counts and drops them), as x, y, width, height with width = xmax - xmin + 1.

    Args:
        tfrecords: the files, read in this order.
        out_dir: folder of the set; ``data_root`` in a config.
        split: ``'train'``, ``'test'`` …; a plain name.
        suffix: ``'.png'`` keeps the pixels exactly; ``'.jpg'`` (quality 95) takes about a sixth of the room.
        progress: wraps the iterator over the examples, to show a progress bar.

    Returns:
        Numbers of ``images``, ``boxes`` and of the boxes of each class.

    Raises:
        DataError: as :func:`read_cdetector`; two images have one name; ``images/<split>`` or
            ``annotations/<split>.json`` is there and not ours to replace; or there is no image at all.
        ConfigError: ``split`` or ``suffix`` cannot be meant.
    """
    if not re.fullmatch(r'[\w-]+', split):
        raise ConfigError(f'split must be a plain name such as "train", got {split!r}.')
    if suffix not in IMAGE_SUFFIXES:
        raise ConfigError(f'suffix must be ".png" or ".jpg", got {suffix!r}.')
    tfrecords = list(tfrecords)
    results = OutputFolder(out_dir, f'prepare_data.{split}', names=(f'annotations/{split}.json', f'images/{split}'),
                           inputs=tfrecords)
    coco = {'info': {'description': f'Comparison detector, {split}, converted from TFRecord'}, 'images': [],
            'annotations': [], 'categories': [{'id': number, 'name': name}
                                              for number, name in enumerate(CDETECTOR_CLASSES, 1)]}
    with results as new:
        examples = (example for path in tfrecords for example in read_cdetector(path))
        names: set[str] = set()
        for example in progress(examples):
            _write_example(example, coco, new / 'images' / split, split, suffix, names)
        if not names:
            raise DataError(f'{out_dir}: no image to convert for the split "{split}"; the list of files is empty.')
        write_json(new / 'annotations' / f'{split}.json', coco)
    labels = np.bincount([item['category_id'] - 1 for item in coco['annotations']], minlength=len(CDETECTOR_CLASSES))
    return {'images': len(coco['images']), 'boxes': len(coco['annotations']),
            **dict(zip(CDETECTOR_CLASSES, labels.tolist()))}


def _write_example(example: CDetectorExample, coco: dict, folder: Path, split: str, suffix: str, names: set) -> None:
    name = Path(re.split(r'[/\\]', example.name)[-1]).stem + suffix  # a name from a file gets no say about folders
    if name in names or name == suffix:
        raise DataError(f'two images (or one without a name) want the file {split}/{name}: "{example.name}".')
    names.add(name)
    done, data = cv2.imencode(suffix, cv2.cvtColor(example.image, cv2.COLOR_RGB2BGR))
    if not done:
        raise DataError(f'"{example.name}": cannot encode {example.image.shape} pixels as {suffix}.')
    path = join_inside(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())
    height, width = example.image.shape[:2]
    image_id = len(coco['images']) + 1
    coco['images'].append({'id': image_id, 'file_name': f'{split}/{name}', 'height': height, 'width': width})
    for (x1, y1, x2, y2), label in zip(example.boxes.tolist(), example.labels.tolist()):
        coco['annotations'].append({
            'id': len(coco['annotations']) + 1, 'image_id': image_id, 'category_id': label + 1, 'iscrowd': 0,
            'bbox': [x1, y1, x2 - x1, y2 - y1], 'area': max(0, x2 - x1) * max(0, y2 - y1)})
