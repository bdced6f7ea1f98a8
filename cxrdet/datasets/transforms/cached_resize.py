"""Decoded and resized images, kept on disk from epoch to epoch and run to run."""
import hashlib
import logging
import os
import zlib
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from mmengine.logging import print_log
from torch.utils.data import get_worker_info

from cxrdet.core.errors import ConfigError, check_numbers
from cxrdet.core.files import write_atomic
from cxrdet.datasets.formats.tfrecord import split_record_path
from cxrdet.datasets.transforms.base import Transform
from cxrdet.datasets.transforms.loading import LoadImage
from cxrdet.registry import TRANSFORMS

_FORMAT = 1  # of an entry: numbers in the head, pixels, and a checksum of both
_HEAD = np.dtype([('format', '<u4'), ('original', '<u4', 2), ('size', '<u4', 3), ('factor', '<f8', 2)])


@TRANSFORMS.register_module()
class CachedResize(Transform):
    """:class:`LoadImage` and ``Resize`` in one step, whose images are decoded and resized once and then kept on disk.

    It stands in the place of ``Resize`` in a training pipeline without ``LoadImage``; ``LoadAnnotations`` stands
    before it. For images that are much larger than what the model sees. Pixels and boxes are those of the two steps.

    An entry is found by the path, size and time of the image file, the arguments of both steps and OpenCV's version, so
    that a changed file is read again. Entries are written whole, by any number of processes; one that is damaged is
    written anew. A folder that is full (``max_gb``) or cannot be written to takes no more: its images are read from
    their files. Nothing is deleted: delete the folder.

    Required keys: ``img_path``, and those of the two steps. Added keys: theirs.

    Args:
        folder: of the entries, an image of 640 x 640 px takes 1.2 MB.
        resize: the step, as ``dict(type='Resize', scale=(640, 640), keep_ratio=True)``; with a fixed ``scale``.
        load: arguments of :class:`LoadImage`, without its own cache.
        max_gb: gigabytes (2^30 bytes) that the folder may hold.

    Raises:
        ConfigError: ``resize`` is no such step or has no ``scale``, ``load`` has a cache, or ``max_gb`` is 0.
        DataError: as :class:`LoadImage` raises it.
    """

    def __init__(self, folder: str, *, resize: Mapping, load: Mapping | None = None, max_gb: float = 20) -> None:
        check_numbers(type(self).__name__, max_gb=(max_gb, '(0, inf)'))
        self.folder, self.max_gb = folder, max_gb
        self.load = LoadImage(**(load or {}))
        self.resize = TRANSFORMS.build(dict(resize))
        if not hasattr(self.resize, '_resize_img') or not getattr(self.resize, 'scale', None):
            raise ConfigError(f'CachedResize: resize must be a Resize with a fixed scale, got {dict(resize)}.')
        if self.load.cache:
            raise ConfigError('CachedResize keeps resized images on disk: leave cache out of load.')
        self._resize = self.resize._resize_img
        self.resize._resize_img = self._load_resized
        self._steps = repr((_FORMAT, cv2.__version__, sorted((load or {}).items()), sorted(resize.items())))
        self._room: float | None = None  # bytes; measured when there is first something to write

    def transform(self, results: dict) -> dict:
        """Read, resize, and do with boxes and masks what the step ``resize`` does."""
        return self.resize(results)

    def read(self, path: str | Path) -> np.ndarray:
        """The image as it comes from the file, as :meth:`LoadImage.read`."""
        return self.load.read(path)

    def _load_resized(self, results: dict) -> None:
        """Set the image and its sizes, from the cache if they are there, in place of the step that resizes pixels."""
        file = self._file(str(results['img_path']))
        entry = None if file is None else _read(file)
        if entry is None:
            self.load(results)
            self._resize(results)
            if file is not None:
                self._write(file, results)
            return
        head, results['img'] = entry
        results['ori_shape'] = tuple(head['original'].tolist())
        if self.load.check_size:
            self.load._check_size(results, results['ori_shape'])
        results['img_shape'] = results['img'].shape[:2]
        results['scale_factor'] = tuple(head['factor'].tolist())
        results['keep_ratio'] = self.resize.keep_ratio

    def _file(self, path: str) -> str | None:
        """Where the entry of an image stands; None where the image is not there, which its reader tells."""
        source = (split_record_path(path) or (path,))[0]
        try:
            status = os.stat(source)
        except OSError:
            return None
        key = repr((os.path.abspath(path), status.st_size, status.st_mtime_ns, self._steps))
        name = hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()[:40]
        return os.path.join(self.folder, name[:2], f'{name[2:]}.img')

    def _write(self, file: str, results: dict) -> None:
        image = np.ascontiguousarray(results['img'])
        if image.dtype != np.uint8 or image.ndim != 3:
            return
        head = np.array((_FORMAT, results['ori_shape'], image.shape, results['scale_factor']), _HEAD).tobytes()
        size = len(head) + image.nbytes + 4
        if self._room is None or 0 < self._room < size:
            self._room = self.max_gb * 2 ** 30 - _size_of(self.folder)
        if self._room < size:
            self._stop(f'holds max_gb={self.max_gb:g}')
            return
        workers = get_worker_info()
        self._room -= size * (workers.num_workers if workers else 1)  # the others write as much
        data = head + image.tobytes()
        try:
            write_atomic(file, data + zlib.crc32(data).to_bytes(4, 'little'), durable=False)
        except OSError as error:
            self._stop(f'cannot be written to ({error.strerror or error})')

    def _stop(self, reason: str) -> None:
        if self._room != -1:
            self._room = -1
            print_log(f'{self.folder}: the image cache {reason}: other images are read from their files.', 'current',
                      logging.WARNING)


def _read(file: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Head and image of an entry; None where there is none, or a damaged one."""
    try:
        data = np.fromfile(file, np.uint8)
    except OSError:
        return None
    if len(data) < _HEAD.itemsize + 4 or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:].tobytes(), 'little'):
        return None
    head = data[:_HEAD.itemsize].view(_HEAD)[0]
    pixels = data[_HEAD.itemsize:-4]
    return (head, pixels.reshape(head['size'])) if head['format'] == _FORMAT else None


def _size_of(folder: str) -> int:
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(path, name)).st_size
            except OSError:  # another process has just renamed it
                continue
    return total
