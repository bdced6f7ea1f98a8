"""Detection sets of any format as they lie: :class:`DetectionFolder`, and two of its cases, :class:`YOLODataset` and
:class:`CellTFRecordDataset`."""
import dataclasses
import logging
from pathlib import Path

import numpy as np
from mmdet.datasets import BaseDetDataset
from mmengine.logging import print_log

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.issues import DataTable, told
from cxrdet.core.terminal import visible
from cxrdet.datasets.cell import _CellReader
from cxrdet.datasets.formats import tfrecord
from cxrdet.datasets.formats.sets import read_set
from cxrdet.registry import DATASETS


@DATASETS.register_module()
class DetectionFolder(_CellReader, BaseDetDataset):
    """A set of images with boxes in any format that ``cxrdet check-data`` reads: YOLO, CVAT, labelme, Label Studio,
    COCO or Pascal VOC in any of their layouts (:data:`cxrdet.datasets.formats.sets.FORMATS`).

    What is an error for ``check_data`` is one here. Classes stand in the order that the set declares,
    else sorted. ``img_id`` is the position of the image in the split, from 1. What was made of
    polygons and turned boxes is told in the log. Unit of split: whatever the set was split by;
    patients are unknown.

    Args:
        ann_file: the file or folder of the set, relative to ``data_root``; empty: ``data_root``
            itself.
        metainfo, on_bad_annotation, allow_no_boxes: as for :class:`cxrdet.CellDataset`.
        split: ``'train'``, ``'val'``, ``'test'`` or another that the set names; empty: all images.
        format: name of the format; ``'auto'``: by what lies there.
        **kwargs: ``data_prefix=dict(img=...)`` for images in another place; ``allow_outside`` as for
            :class:`cxrdet.CellDataset`; of ``mmdet.BaseDetDataset``: ``data_root``, ``filter_cfg``,
            ``pipeline`` …

    Raises:
        DataError: the set has errors, no image of the split, or no box to use.
        ConfigError: an argument has a value that cannot be meant, or the format has no boxes.
    """

    _HOLDS_CORNERS = True

    def __init__(self, ann_file: str = '', metainfo: dict | None = None, *, split: str = '', format: str = 'auto',
                 **kwargs) -> None:
        self.split, self.format = split, format
        self._told: dict[str, str] = {}
        super().__init__(ann_file, metainfo, kwargs.pop('data_prefix', None), {}, **kwargs)

    def _source(self) -> str:
        return str(self.ann_file or self.data_root)

    def read_table(self) -> DataTable:
        if not self._source():
            raise ConfigError(f'{type(self).__name__} needs data_root or ann_file, the folder or file of the set.')
        table = read_set(self._source(), self.format, images=self.data_prefix.get('img') or None,
                         allow_outside=self.allow_outside)
        if table.labels is not None or table.kind == 'folder':
            raise ConfigError(f'{self._source()}: a set of the format "{table.kind}" has no boxes. Name the format '
                              'that is meant (format), or use the data set for it.')
        table = _of_split(table, self.split, self._source()) if self.split else table
        self._told = told(finding for finding in table.findings if finding.level != 'error')
        return table

    def _log_contents(self, data_list: list[dict]) -> None:
        super()._log_contents(data_list)
        for code, text in self._told.items():
            print_log(visible(f'{self._source()}: {code}: {text}', one_line=True), 'current', logging.WARNING)


@DATASETS.register_module()
class YOLODataset(DetectionFolder):
    """:class:`DetectionFolder` of a YOLO set: ``data.yaml`` with ``names`` and the folders of the splits.

    Args:
        ann_file: ``data.yaml`` or its folder, relative to ``data_root``.
        metainfo, **kwargs: as for :class:`DetectionFolder`, apart from ``format``.
    """

    def __init__(self, ann_file: str = 'data.yaml', metainfo: dict | None = None, **kwargs) -> None:
        super().__init__(ann_file, metainfo, format='yolo', **kwargs)


@DATASETS.register_module()
class CellTFRecordDataset(DetectionFolder):
    """A detection set in TFRecord files of the Comparison detector, see :mod:`cxrdet.datasets.formats.tfrecord`.

    It gives the same images, boxes, labels and ``img_id`` (position, from 1) as :class:`cxrdet.CellDataset` on what
    ``cxrdet prepare-data cdetector`` makes of the same files. The files are indexed at the start; a sample then
    reads its own record, by its ``img_path``, ``FILE@BYTE/NAME``. Boxes with labels other than 1..11 are an error, or
    dropped and counted as ``unknown_category``. Citation and licence: see :class:`cxrdet.CellDataset`. Unit of split:
    the file; patients are unknown.

    Args:
        ann_file: a file, or a folder of files whose names hold "record" (in the order of their names), relative to
            ``data_root``.
        metainfo, **kwargs: as for :class:`DetectionFolder`, apart from ``format`` and ``split``.

    Raises:
        DataError: a file is missing, torn or no such file (with record and byte), or has no box to use; two images have
            one name.
        ConfigError: an argument has a value that cannot be meant.
    """

    def __init__(self, ann_file: str = '', metainfo: dict | None = None, **kwargs) -> None:
        if not ann_file:
            raise ConfigError('CellTFRecordDataset needs ann_file, a TFRecord file or a folder of such, for example '
                              '"train.tfrecord".')
        super().__init__(ann_file, metainfo, format='tfrecord', split='', **kwargs)

    def read_table(self) -> DataTable:
        return tfrecord.read(Path(self.ann_file), files=self._image_paths())

    def _image_paths(self) -> list[Path]:
        return tfrecord.record_files(self.ann_file)

    @classmethod
    def image_keys(cls, cfg: dict) -> dict[str, str]:
        """Key -> path of each image, see :func:`cxrdet.datasets.formats.tfrecord.read`."""
        return cls.described(cfg)._checked()[0].source


def _of_split(table: DataTable, split: str, source: str) -> DataTable:
    """The rows of one split, and what was found about them or about no image."""
    rows = [row for row, name in enumerate(table.splits) if name == split]
    if not rows:
        raise DataError(f'{source}: no image of the split "{split}"; there are '
                        f'{", ".join(sorted(set(filter(None, table.splits)))) or "no splits"}.')
    boxes = np.flatnonzero(np.isin(table.box_image, rows))
    images, numbers = ({old: new for new, old in enumerate(kept)} for kept in (rows, boxes.tolist()))
    findings = [dataclasses.replace(finding, image=images.get(finding.image, -1), box=numbers.get(finding.box, -1))
                for finding in table.findings if finding.image < 0 or finding.image in images]
    lists = {name: [getattr(table, name)[row] for row in rows] for name in
             ('names', 'files', 'splits', 'groups', 'views', 'places')}
    return dataclasses.replace(
        table, **lists, sizes=table.sizes[rows], boxes=table.boxes[boxes],
        box_image=np.array([images[row] for row in table.box_image[boxes].tolist()], np.int64),
        box_label=table.box_label[boxes], crowd=table.crowd[boxes], findings=findings,
        box_places=[table.box_places[box] for box in boxes], outside={images[row] for row in table.outside & set(rows)},
        box_entries=None if table.box_entries is None else [table.box_entries[box] for box in boxes])
