"""A plain folder of images: ``NAME.png``, or ``train/CLASS/NAME.png``."""
from pathlib import Path

import numpy as np

from cxrdet.core.errors import DataError
from cxrdet.core.issues import DataTable, Place
from cxrdet.datasets.formats.files import files_below

_SPLITS = ('train', 'val', 'valid', 'test')


def recognises(path: Path) -> bool:
    """Any folder."""
    return path.is_dir()


def read(path: Path, images: Path | None = None) -> DataTable:
    """All images below a folder. A first folder ``train``, ``val``, ``valid`` or ``test`` is the split; a folder
    under it is the class of its images.

    Raises:
        DataError: There is no image.
    """
    root = images or path
    files = list(files_below(root))
    if not files:
        raise DataError(f'{root}: there is no image in this folder, and no annotation file that is known.')
    names = [Path(file).relative_to(root).as_posix() for file in files]
    parts = [name.split('/') for name in names]
    splits = [part[0] if part[0] in _SPLITS and len(part) > 1 else '' for part in parts]
    found = [part[1] if split and len(part) > 2 else '' for part, split in zip(parts, splits)]
    classes = tuple(sorted(set(found) - {''}))
    labels = np.array([[name == label for name in classes] for label in found], bool).reshape(len(files), -1)
    return DataTable('folder', classes, names, files, splits, [''] * len(files), [''] * len(files),
                     [Place(file) for file in files], np.full((len(files), 2), np.nan), labels if classes else None)
