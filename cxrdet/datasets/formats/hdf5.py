"""HDF5 files as published sets have them: whole arrays, or large ones row by row. Needs the package h5py."""
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from cxrdet.core.errors import DataError


class Hdf5Rows:
    """The array ``key`` of an HDF5 file, of which a row is read when it is asked for; ``shape`` and ``dtype`` are its
    own.

    Every process opens the file for itself, when it first reads; what is sent to a worker is the name of the file.

    Raises: DataError if the file or array is not there or cannot be read; later, too, for a torn row.
    """

    def __init__(self, path: str, key: str) -> None:
        self.path, self.key = path, key
        with _array(path, key) as array:
            self.shape, self.dtype = array.shape, array.dtype
        self._open: tuple[int, Any] | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, row: int) -> np.ndarray:
        if self._open is None or self._open[0] != os.getpid():
            self._open = os.getpid(), _opened(self.path)
        try:
            return self._open[1][self.key][row]
        except (OSError, KeyError, ValueError, IndexError) as error:
            raise DataError(f'{self.path}: "{self.key}", row {row}: cannot be read ({error}). Fetch the file '
                            'again.') from error

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_open': None}


def read_hdf5(path: str, key: str) -> np.ndarray:
    """A whole array of an HDF5 file; raises DataError as :class:`Hdf5Rows` does."""
    with _array(path, key) as array:
        try:
            return array[()]
        except OSError as error:
            raise DataError(f'{path}: "{key}": cannot be read ({error}). Fetch the file again.') from error


@contextmanager
def _array(path: str, key: str) -> Iterator:
    with _opened(path) as file:
        found = file.get(key)
        if not hasattr(found, 'shape'):
            raise DataError(f'{path}: expected an array "{key}", there are: {", ".join(file) or "none"}.')
        yield found


def _opened(path: str):
    try:
        import h5py
    except ImportError as error:
        raise DataError(f'{path}: reading HDF5 takes the package h5py: pip install "cxrdet[hdf5]".') from error
    if not os.path.isfile(path):
        packed = f' Unpack the file beside it: gunzip {path}.gz' if os.path.isfile(f'{path}.gz') else ''
        raise DataError(f'{path}: no such file.{packed}')
    try:
        return h5py.File(path, 'r')
    except OSError as error:
        raise DataError(f'{path}: this is no whole HDF5 file ({error}). Fetch it again.') from error
