"""The TFRecord files of the Comparison detector as a detection set, without conversion."""
from pathlib import Path

from mmdet.datasets import BaseDetDataset

from cxrdet.core.errors import ConfigError
from cxrdet.core.issues import DataTable
from cxrdet.datasets.cell import _CellReader
from cxrdet.datasets.cell_classes import CDETECTOR_CLASSES
from cxrdet.datasets.formats.tfrecord import read, record_files
from cxrdet.registry import DATASETS


@DATASETS.register_module()
class CellTFRecordDataset(_CellReader, BaseDetDataset):
    """A detection set in TFRecord files of the Comparison detector, see :mod:`cxrdet.datasets.formats.tfrecord`.

    It gives the same images, boxes, labels and ``img_id`` (position, from 1) as :class:`cxrdet.CellDataset` on what
    ``tools/prepare_data.py cdetector`` makes of the same files. The files are indexed at the start; a sample then
    reads its own record, by its ``img_path``, ``FILE@BYTE/NAME``. Boxes with labels other than 1..11 are an error, or
    dropped and counted as ``unknown_category``. Citation and licence: see :class:`cxrdet.CellDataset`. Unit of split:
    the file; patients are unknown.

    Args:
        ann_file: a file, or a folder of files whose names hold "record" (in the order of their names), relative to
            ``data_root``.
        metainfo, on_bad_annotation, allow_no_boxes: as for :class:`cxrdet.CellDataset`.
        **kwargs: of ``mmdet.BaseDetDataset``: ``data_root``, ``filter_cfg``, ``pipeline``, ``indices`` …

    Raises:
        DataError: a file is missing, torn or no such file (with record and byte), or has no box to use; two images have
            one name.
        ConfigError: an argument has a value that cannot be meant.
    """

    _HOLDS_CORNERS = True

    def __init__(self, ann_file: str = '', metainfo: dict | None = None, *, on_bad_annotation: str = 'error',
                 allow_no_boxes: bool = False, **kwargs) -> None:
        if not ann_file:
            raise ConfigError('CellTFRecordDataset needs ann_file, a TFRecord file or a folder of such, for example '
                              '"train.tfrecord".')
        self.allow_no_boxes = allow_no_boxes
        super().__init__(ann_file, metainfo, kwargs.pop('data_prefix', None), {}, on_bad_annotation, **kwargs)

    def read_table(self) -> DataTable:
        return read(Path(self.ann_file), files=record_files(self.ann_file))

    def _found_classes(self) -> list[str]:
        return list(CDETECTOR_CLASSES)

    def _image_paths(self) -> list[Path]:
        return record_files(self.ann_file)

    @classmethod
    def image_keys(cls, cfg: dict) -> dict[str, str]:
        """Key -> path of each image, see :func:`cxrdet.datasets.formats.tfrecord.read`."""
        return cls.described(cfg)._checked()[0].source
