"""Images within TFRecord files of the Comparison detector: found by an index, read one by one.

An image has a path like a file: ``train.tfrecord@1234/a.jpg`` is the image ``a.jpg`` of the record at byte 1234. The
index reads the length of every record, and of its data all but the pixels, so that it costs some hundred bytes an
image. An image is read without the checksum of its data; ``tools/check_data.py`` looks at these.
"""
import hashlib
import mmap
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cxrdet.core.errors import DataError
from cxrdet.core.issues import DataTable, Finding, Place
from cxrdet.datasets.cell_classes import CDETECTOR_CLASSES
from cxrdet.datasets.formats.crc32c import masked_crc32c
from cxrdet.datasets.formats.tfrecord import (
    Span,
    cdetector_parts,
    continuous_boxes,
    parse_example,
    record_errors,
    record_spans,
)

__all__ = ['RecordImage', 'index_records', 'read', 'read_record_image', 'recognises', 'record_files', 'record_path',
           'split_record_path']

_SHARD = re.compile(r'[-_.]?\d+([-_]of[-_]\d+)?$')
_SUFFIXES = ('', '.tfrecord', '.tfrecords', '.record', '.records')

_SAMPLE = 4096  # bytes of the pixels in the middle
_PATH = re.compile(r'(?P<file>.+)@(?P<offset>\d+)/[^/]*', re.DOTALL)


class RecordImage(NamedTuple):
    """An image of a TFRecord file: place of its record, name, height and width in pixels, its rows as stored, (N, 5)
    int64: ymin, xmin, ymax, xmax (inclusive), label 1..11; and a key that images of the same pixels share: a digest of
    size and some pixels of the middle."""

    span: Span
    name: str
    height: int
    width: int
    rows: np.ndarray
    key: str


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


def read(path: Path, images: Path | None = None, *, one_split: bool = False) -> DataTable:
    """One file, or all in a folder whose names hold "record"; a file is a split, shards of one name are one.

    ``train-00000-of-00010.tfrecord`` is of the split ``train``. Of a torn file the records before the tear are read.
    The files hold their images, so that ``images`` is not looked at.

    Args:
        path: The file or the folder.
        images: For the likeness with other formats.
        one_split: All files are one set.

    Raises:
        DataError: There is no file.
    """
    table = DataTable('tfrecord', CDETECTOR_CLASSES)
    sizes, rows, owners = [], [np.zeros((0, 5), np.int64)], [np.zeros(0, np.int64)]
    taken: dict[tuple[str, str], str] = {}
    for file in record_files(path):
        stem = file.name.split('.')[0]
        split = '' if one_split else _SHARD.sub('', stem) or stem
        for found in _parsed(file):
            if isinstance(found, Finding):
                table.findings.append(found)
                continue
            number, offset, _ = found.span
            own = len(table.names)
            table.names.append(found.name)
            table.files.append(record_path(file, found))
            table.splits.append(split)
            table.places.append(Place(str(file), f'record {number}', number, offset))
            table.box_places += [Place(str(file), f'record {number}, box {box}', number)
                                 for box in range(len(found.rows))]
            sizes.append((found.height, found.width))
            rows.append(found.rows)
            owners.append(np.full(len(found.rows), own))
            other = taken.setdefault((split, os.path.splitext(found.name)[0]), table.files[own])
            if other != table.files[own]:
                table.tell_images('error', 'image_name_twice', [(own, f'"{found.name}" has the name of an image before '
                                                                      f'it: {other}')])
    table.groups, table.views = [''] * len(table.names), [''] * len(table.names)
    table.sizes = np.array(sizes, np.float64).reshape(-1, 2)
    stored, table.box_image = np.concatenate(rows), np.concatenate(owners)
    table.boxes = continuous_boxes(stored).astype(np.float64)
    known = (stored[:, 4] >= 1) & (stored[:, 4] <= len(CDETECTOR_CLASSES))
    table.box_label = np.where(known, stored[:, 4] - 1, -1)
    table.crowd = np.zeros(len(stored), bool)
    table.findings += [table.about_box('error', 'unknown_category', f'the box has the label {stored[box, 4]}, expected '
                                       f'1 to {len(CDETECTOR_CLASSES)}', box) for box in np.flatnonzero(~known)]
    table.find_conflicts()
    return table


def index_records(file: str | Path) -> Iterator[RecordImage]:
    """The images of a TFRecord file without their pixels.

    Raises:
        DataError: as :func:`cxrdet.datasets.formats.tfrecord.record_spans` does; or a record is no ``Example`` of the
            set (with its number and byte offset).
    """
    for found in _parsed(file):
        if isinstance(found, Finding):
            raise DataError(f'{found.file}: {found.text}')
        yield found


def _parsed(file: str | Path) -> Iterator[RecordImage | Finding]:
    """The images of a file, and in place of what is none what is wrong with it; it ends at a tear."""
    content = None
    try:
        for span in record_spans(file):
            if content is None:
                with open(file, 'rb') as stream:
                    content = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
            try:
                with record_errors(file, span):
                    name, image, rows = _parts(content[span.offset + 12:span.offset + 12 + span.length])
                yield RecordImage(span, re.split(r'[/\\]', name)[-1], *image.shape[:2], rows, _key(image))
            except DataError as error:
                yield Finding('error', 'bad_image', str(error).removeprefix(f'{file}: '), str(file))
    except DataError as error:
        yield Finding('error', 'unreadable_annotations', str(error).removeprefix(f'{file}: '), str(file))


def _key(image: np.ndarray) -> str:
    pixels = image.reshape(-1)
    middle = max(0, (len(pixels) - _SAMPLE) // 2)
    return hashlib.sha1(repr(image.shape).encode() + pixels[middle:middle + _SAMPLE].tobytes()).hexdigest()


def record_path(file: str | Path, image: RecordImage) -> str:
    """The path of an image in a TFRecord file."""
    return f'{os.fspath(file)}@{image.span.offset}/{image.name}'


def split_record_path(path: str | Path) -> tuple[str, int] | None:
    """TFRecord file and byte offset of the record; None for a path of an image file."""
    found = _PATH.fullmatch(os.fspath(path))
    return None if found is None or not os.path.isfile(found['file']) else (found['file'], int(found['offset']))


def read_record_image(path: str | Path, *, check: bool = False) -> np.ndarray:
    """The image of a path of :func:`record_path`, (H, W, 3) uint8, channels blue, green, red.

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
            length = struct.unpack('<Q', head[:8])[0] if len(head) == 12 else 0
            good = len(head) == 12 and masked_crc32c(head[:8]) == struct.unpack('<I', head[8:])[0]
            data, tail = (stream.read(length), stream.read(4)) if good else (b'', b'')
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: cannot read the record: {error}.') from None
    if not good or len(tail) < 4:
        raise DataError(f'{path}: there is no whole record at byte {offset} of {file}; the file is damaged, or was '
                        'changed since it was indexed.')
    if check and masked_crc32c(data) != struct.unpack('<I', tail)[0]:
        raise DataError(f'{path}: wrong checksum of the data of the record at byte {offset}; the file is damaged.')
    try:
        return np.ascontiguousarray(_parts(memoryview(data))[1][..., ::-1])
    except ValueError as error:
        raise DataError(f'{path}: {error}.') from None


def _parts(data: memoryview) -> tuple[str, np.ndarray, np.ndarray]:
    return cdetector_parts(parse_example(data, views=('img',)))
