"""Lenient readers: they go on after a defect, tell all of them, and give the neutral table of the checks.

The data sets that train read strictly (``coco_io``, ``voc_io``, ``csv_io``, ``nih_io``) and stop at what is wrong; here
everything that can be read is read, and what cannot stands in ``DataTable.findings``.
"""
import os
from pathlib import Path

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.issues import DataTable
from cxrdet.core.paths import is_outside, name_fault
from cxrdet.datasets.formats.lenient.coco import read_coco_set
from cxrdet.datasets.formats.lenient.files import IMAGE_SUFFIXES, image_paths
from cxrdet.datasets.formats.lenient.folder import read_folder
from cxrdet.datasets.formats.lenient.tables import read_csv_set
from cxrdet.datasets.formats.lenient.tables_nih import read_nih_set
from cxrdet.datasets.formats.lenient.tfrecord import read_tfrecord_set
from cxrdet.datasets.formats.lenient.voc import read_voc_set
from cxrdet.datasets.formats.nih import TABLES

__all__ = ['FORMATS', 'IMAGE_SUFFIXES', 'find_format', 'image_paths', 'read_set']

FORMATS = {'coco': read_coco_set, 'voc': read_voc_set, 'nih': read_nih_set, 'csv': read_csv_set,
           'tfrecord': read_tfrecord_set, 'folder': read_folder}


def find_format(path: str | Path) -> str:
    """The format of a data set by what lies in ``path``: a folder, a COCO ``.json``, a ``.csv`` of either kind,
    or a TFRecord file of the Comparison detector.

    Raises:
        DataError: There is nothing, or nothing that is known.
    """
    path = Path(path)
    if path.is_dir():
        if any((path / name).is_file() for name in TABLES):
            return 'nih'
        if any((path / 'Annotations').glob('*.xml')):
            return 'voc'
        if any((path / 'annotations').glob('*.json')) or any(path.glob('annotations*.json')):
            return 'coco'
        if any(path.glob('*.csv')):
            return 'csv'
        return 'tfrecord' if any(map(_is_record_file, path.iterdir())) else 'folder'
    if not path.exists():
        raise DataError(f'{path}: no such file or folder.')
    if path.name in TABLES:
        return 'nih'
    kind = {'.json': 'coco', '.csv': 'csv'}.get(path.suffix.lower(), 'tfrecord' if _is_record_file(path) else None)
    if kind is None:
        raise DataError(f'{path}: expected a folder, a COCO file (.json), a table (.csv) or a TFRecord file '
                        '(.tfrecord).')
    return kind


def _is_record_file(path: Path) -> bool:
    return path.is_file() and 'record' in path.name.lower() and path.suffix.lower() in ('', '.tfrecord', '.tfrecords',
                                                                                        '.record', '.records')


def read_set(path: str | Path, kind: str = 'auto', *, images: str | Path | None = None,
             allow_outside: bool = False) -> DataTable:
    """Read a data set of any format leniently.

    Args:
        path: The folder of the set, or its annotation file.
        kind: One of :data:`FORMATS`, or ``auto``.
        images: Folder of the images, where it is not the usual one.
        allow_outside: Take images too that the annotations name outside the set, by absolute paths or by "..", as if
            they were in it (a name with a zero byte never). Otherwise each is an error, ``outside_file``, and its row
            stands in ``DataTable.outside``.

    Raises:
        DataError: There is no such set, or nothing of it can be read.
        ConfigError: The format is unknown.
    """
    if kind not in ('auto', *FORMATS):
        raise ConfigError(f'the format must be one of auto, {", ".join(FORMATS)}, got "{kind}".')
    kind = find_format(path) if kind == 'auto' else kind
    if images is not None and not Path(images).is_dir():
        raise DataError(f'{images}: no such folder of images.')
    table = FORMATS[kind](Path(path), None if images is None else Path(images))
    _find_outside(table, Path(path), images, allow_outside)
    return table


def _find_outside(table: DataTable, path: Path, images: str | Path | None, allowed: bool) -> None:
    """Tell images whose names lead out of the set; see :func:`cxrdet.core.paths.is_outside`."""
    root = path if path.is_dir() else path.parent.parent if path.parent.name == 'annotations' else path.parent
    roots = [root, *([] if images is None else [images])]
    for row, (name, file) in enumerate(zip(table.names, table.files)):
        if '\0' in name or (not allowed and name_fault(name) and is_outside(os.path.abspath(file), root, roots)):
            table.outside.add(row)
            text = (f'{name!r} holds a zero byte' if '\0' in name else
                    f'{name!r} leads out of {root}; it is not looked at (--allow-outside, allow_outside=True: it is)')
            table.findings.append(table.about_image('error', 'outside_file', text, row))
