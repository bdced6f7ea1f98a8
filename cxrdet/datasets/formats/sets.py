"""The formats of data sets: what recognises each, and what reads it.

A format is a module of this folder with two functions: ``recognises(path)`` says whether a folder or file is of it, and
``read(path, images)`` gives a :class:`~cxrdet.core.issues.DataTable`. A reader goes on after a defect: everything that
can be read is in the table, and what cannot, or what is wrong with it, stands in ``DataTable.findings``; its last step
is :meth:`DataTable.find_conflicts`. It raises DataError only where there is nothing to give a table of. The data sets
that train raise on the errors of that list (:meth:`DataTable.raise_errors`), ``check_data`` prints them: there is one
reader, so that they are of one mind.
"""
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.issues import DataTable
from cxrdet.datasets.formats import csv_labels, cvat, folder, label_studio, labelme, layouts, nih, tfrecord, yolo
from cxrdet.datasets.formats.files import IMAGE_SUFFIXES, annotation_files, image_paths, tell_outside

__all__ = ['FORMATS', 'IMAGE_SUFFIXES', 'Format', 'find_format', 'image_paths', 'read_set']


class Format(NamedTuple):
    """How a format is recognised, by a folder or file that exists, and read: (path, folder of images or None)."""

    recognises: Callable[[Path], bool]
    read: Callable[[Path, Path | None], DataTable]


FORMATS = {
    'nih': Format(nih.recognises, nih.read),
    'voc': Format(layouts.recognises_voc, layouts.read_voc),
    'cvat': Format(cvat.recognises, cvat.read),
    'label-studio': Format(label_studio.recognises, label_studio.read),
    'labelme': Format(labelme.recognises, labelme.read),
    'coco': Format(layouts.recognises_coco, layouts.read_coco),
    'yolo': Format(yolo.recognises, yolo.read),
    'csv': Format(csv_labels.recognises, csv_labels.read),
    'tfrecord': Format(tfrecord.recognises, tfrecord.read),
    'folder': Format(Path.is_dir, folder.read),
}
"""In this order they are asked; the first that recognises a path reads it."""

_NO_ANNOTATIONS = ('readme', 'license', 'licence', 'copying', 'changelog', 'citation', 'requirements')


def find_format(path: str | Path) -> str:
    """The format of a data set by what lies in ``path``: one of :data:`FORMATS`.

    Raises:
        DataError: There is nothing, or nothing that is known.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f'{path}: no such file or folder.')
    kind = next((kind for kind, known in FORMATS.items() if known.recognises(path)), None)
    odd = [file for file in annotation_files(path, '.json', '.xml', '.txt', '.csv')
           if not file.name.lower().startswith(_NO_ANNOTATIONS)] if kind == 'folder' else []
    if kind is None or odd:
        which = f' of {", ".join(map(str, odd[:3]))}{f" and {len(odd) - 3} more" if odd[3:] else ""}' if odd else ''
        known = ', '.join(name for name in FORMATS if name != 'folder')
        raise DataError(f'{path}: the format{which} is none that is known: {known}. Name it (--format), or take the '
                        'files away; "folder" looks at the images alone.')
    return kind


def read_set(path: str | Path, kind: str = 'auto', *, images: str | Path | None = None,
             allow_outside: bool = False) -> DataTable:
    """Read a data set of any format, to the end whatever is wrong in it.

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
    table = FORMATS[kind].read(Path(path), None if images is None else Path(images))
    path = Path(path)
    root = path if path.is_dir() else path.parent.parent if path.parent.name == 'annotations' else path.parent
    tell_outside(table, [root, *([] if images is None else [images])], allowed=allow_outside)
    return table
