"""The formats of data sets: a module of this folder each, with two functions.

``recognises(path)`` says whether a folder or file that exists is of the format; ``read(path,
images)`` gives a :class:`~cxrdet.core.issues.DataTable`. A reader goes on after a defect: all that
can be read is in the table, and what is wrong stands in ``DataTable.findings``; its last step is
:meth:`DataTable.finish`. It raises DataError only where there is nothing to give. Training raises
on the errors of that list (:meth:`DataTable.raise_errors`), ``check_data`` prints them.
"""
from pathlib import Path

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.issues import DataTable, Place
from cxrdet.datasets.formats import coco, csv_labels, cvat, folder, label_studio, labelme, nih, tfrecord, voc, yolo
from cxrdet.datasets.formats.files import files_below, tell_outside

FORMATS = {'nih': nih, 'voc': voc, 'cvat': cvat, 'label-studio': label_studio, 'labelme': labelme, 'coco': coco,
           'yolo': yolo, 'csv': csv_labels, 'tfrecord': tfrecord, 'folder': folder}
"""In this order they are asked; the first that recognises a path reads it."""

_KNOWN = ', '.join(name for name in FORMATS if name != 'folder')
_UNKNOWN = ('.json', '.xml', '.txt', '.csv', '.mat', '.parquet', '.feather', '.jsonl', '.ndjson', '.tsv', '.xlsx',
            '.xls')
"""Where nothing is of a known format, files with these names hold annotations of another."""
_OTHER_SUFFIXES = ('.pkl', '.pickle', '.yaml', '.yml', '.h5', '.hdf5', '.npy', '.npz', '.sqlite')
"""Files that may hold annotations, and may not."""
_NO_ANNOTATIONS = ('readme', 'license', 'licence', 'copying', 'changelog', 'citation', 'requirements')


def find_format(path: str | Path) -> str:
    """The format of a data set by what lies in ``path``: one of :data:`FORMATS`.

    Raises:
        DataError: There is nothing, or nothing that is known.
    """
    if not str(path):  # else the current folder
        raise DataError('expected a data set, got an empty name.')
    path = Path(path)
    if not path.exists():
        raise DataError(f'{path}: no such file or folder.')
    kind = next((kind for kind, known in FORMATS.items() if known.recognises(path)), None)
    odd = _unread(path, _UNKNOWN) if kind == 'folder' else []
    if kind is None or odd:
        raise DataError(f'{path}: the format{f" of {_few(odd)}" if odd else ""} is none that is known: {_KNOWN}. Name '
                        'it (--format), or take the files away; "folder" looks at the images alone.')
    return kind


def _unread(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    return [file for file in map(Path, files_below(path, suffixes))
            if not file.name.lower().startswith(_NO_ANNOTATIONS)]


def _few(files: list[Path]) -> str:
    return ', '.join(map(str, files[:3])) + (f' and {len(files) - 3} more' if files[3:] else '')


def read_set(path: str | Path, kind: str = 'auto', *, images: str | Path | None = None,
             allow_outside: bool = False) -> DataTable:
    """Read a data set of any format, to the end whatever is wrong in it.

    Args:
        path: The folder of the set, or its annotation file.
        kind: One of :data:`FORMATS`, or ``auto``.
        images: Folder of the images, where it is not the usual one.
        allow_outside: Take images too that the annotations name outside the set, by absolute paths
            or "..", though never a name with a zero byte. Otherwise each is an error,
            ``outside_file``, and its row is in ``DataTable.outside``.

    Raises:
        DataError: There is no such set, or nothing of it can be read.
        ConfigError: The format is unknown.
    """
    if kind not in ('auto', *FORMATS):
        raise ConfigError(f'the format must be one of auto, {", ".join(FORMATS)}, got "{kind}".')
    odd = []
    if kind == 'auto':
        kind = find_format(path)
        odd = _unread(Path(path), _OTHER_SUFFIXES) if kind == 'folder' else []
    if images is not None and not Path(images).is_dir():
        raise DataError(f'{images}: no such folder of images.')
    table = FORMATS[kind].read(Path(path), None if images is None else Path(images))
    if odd:
        table.tell('warning', 'unread_annotations', f'{_few(odd)}: not looked at, only the images are; if these are '
                   f'annotations, turn them into a format that is known: {_KNOWN}', Place(str(odd[0])))
    path = Path(path)
    root = path if path.is_dir() else path.parent.parent if path.parent.name == 'annotations' else path.parent
    tell_outside(table, [root, *([] if images is None else [images])], allowed=allow_outside)
    return table
