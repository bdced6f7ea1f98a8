"""TFRecord files of the Comparison detector, read to the end of what is whole."""
import re
from pathlib import Path

import numpy as np

from cxrdet.core.errors import DataError
from cxrdet.core.issues import DataTable, Finding, Place
from cxrdet.datasets.cell_classes import CDETECTOR_CLASSES
from cxrdet.datasets.formats.record_images import bad_records, record_files, record_path
from cxrdet.datasets.formats.tfrecord import continuous_boxes

_SHARD = re.compile(r'[-_.]?\d+([-_]of[-_]\d+)?$')


def recognises(path: Path) -> bool:
    """A file with the suffix of a TFRecord file or none, whose name holds "record", or a folder with one."""
    return any(map(recognises, filter(Path.is_file, path.iterdir()))) if path.is_dir() else (
        'record' in path.name.lower() and path.suffix.lower() in ('', '.tfrecord', '.tfrecords', '.record', '.records'))


def read_tfrecord_set(path: Path, images: Path | None = None) -> DataTable:
    """One file, or all in a folder whose names hold "record"; a file is a split, shards of one name are one.

    ``train-00000-of-00010.tfrecord`` is of the split ``train``. Of a torn file the records before the tear are read.

    Raises:
        DataError: There is no file.
    """
    table = DataTable('tfrecord', CDETECTOR_CLASSES)
    sizes, rows, owners = [], [np.zeros((0, 5), np.int64)], [np.zeros(0, np.int64)]
    for file in record_files(path):
        stem = file.name.split('.')[0]
        split = _SHARD.sub('', stem) or stem
        try:
            for image, error in bad_records(file):
                if error:
                    table.findings.append(Finding('error', 'bad_image', error, str(file)))
                    continue
                number, offset, _ = image.span
                own = len(table.names)
                table.names.append(image.name)
                table.files.append(record_path(file, image))
                table.splits.append(split)
                table.groups.append('')
                table.views.append('')
                table.places.append(Place(str(file), f'record {number}', number, offset))
                table.box_places += [Place(str(file), f'record {number}, box {box}', number)
                                     for box in range(len(image.rows))]
                sizes.append((image.height, image.width))
                rows.append(image.rows)
                owners.append(np.full(len(image.rows), own))
        except DataError as error:
            table.findings.append(Finding('error', 'unreadable_annotations', str(error), str(file)))
    table.sizes = np.array(sizes, np.float64).reshape(-1, 2)
    stored, table.box_image = np.concatenate(rows), np.concatenate(owners)
    table.boxes = continuous_boxes(stored).astype(np.float64)
    known = (stored[:, 4] >= 1) & (stored[:, 4] <= len(CDETECTOR_CLASSES))
    table.box_label = np.where(known, stored[:, 4] - 1, -1)
    table.crowd = np.zeros(len(stored), bool)
    table.findings += [table.about_box('error', 'unknown_category', f'the box has the label {stored[box, 4]}, expected '
                                       f'1 to {len(CDETECTOR_CLASSES)}', box) for box in np.flatnonzero(~known)]
    return table
