"""PatchCamelyon: 327,680 patches of lymph nodes, with tumour in their middle or without."""
import os
from collections.abc import Mapping

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from cxrdet.core.errors import ConfigError, DataError, did_you_mean
from cxrdet.datasets.cell import match_classes
from cxrdet.datasets.described import Described
from cxrdet.datasets.formats.hdf5 import Hdf5Rows, read_hdf5
from cxrdet.datasets.transforms.loading import ImageNamed
from cxrdet.registry import DATASETS

CLASSES = ('tumour',)
SPLITS = ('train', 'valid', 'test')
FILES = 'camelyonpatch_level_2_split_{}_{}.h5'


@DATASETS.register_module()
class PatchCamelyon(Described, ImageNamed, BaseDataset):
    """Patches of 96 px with one label, tumour or not, from the HDF5 files as published.

    **Citation.** Veeling, Linmans, Winkens, Cohen, Welling, "Rotation Equivariant CNNs for Digital
    Pathology", MICCAI 2018 (arXiv 1806.03962); the slides are of Camelyon16 (Ehteshami Bejnordi et
    al., JAMA 2017). **Licence.** CC0.

    **Files.** ``camelyonpatch_level_2_split_{train,valid,test}_{x,y}.h5`` in ``data_root``, unpacked,
    from https://github.com/basveeling/pcam: ``x`` (N, 96, 96, 3) uint8, RGB, and ``y`` (N, 1, 1, 1),
    1 or 0; N is 262,144, 32,768 and 32,768. A patch is read when it is asked for. Reading takes the
    package h5py.

    **Labels.** 1 where at least one pixel of the 32x32 px in the middle is of a metastasis, by the
    pathologists' outlines. No label is unknown. Half of the patches of each split are positive, which
    they are not in slides: thresholds and calibration hold for this mixture only.

    **Unit of split** is the slide: the published splits share none. The files do not say of which
    slide a patch is, so intervals that take patches for independent are too narrow.

    **Overlaps.** Some patches are there twice. Kaggle's "Histopathologic Cancer Detection" holds the
    same patches without these copies, cut up into other splits; Camelyon16 has the slides.

    An entry holds ``img`` ((96, 96, 3) uint8, BGR, so that pipelines need no loading step),
    ``img_shape``, ``ori_shape``, ``gt_score`` (float32 (1,)), ``img_id`` (its row) and ``img_path``
    (file#row, for messages).

    Args:
        split: 'train', 'valid' or 'test'.
        metainfo: as for every data set; the only class is "tumour".
        **kwargs: of ``mmengine.BaseDataset``: ``data_root``, ``pipeline``, ``indices``, ``test_mode``
            …

    Raises:
        DataError: a file is missing, still packed, or no HDF5; a key, shape, type or label is not as
            published; the two files have different lengths; or a patch cannot be read.
        ConfigError: an unknown split.
    """

    METAINFO = {'classes': CLASSES}

    def __init__(self, split: str = 'train', metainfo: Mapping | None = None, **kwargs) -> None:
        if split not in SPLITS:
            raise ConfigError(f'PatchCamelyon: split must be one of {", ".join(SPLITS)}, got {split!r}.'
                              f'{did_you_mean(str(split), SPLITS)}')
        self.split = split
        classes = match_classes((metainfo or {}).get('classes'), CLASSES, 'PatchCamelyon')
        super().__init__(metainfo={**(metainfo or {}), 'classes': classes}, **kwargs)

    def _image_paths(self) -> list[str]:
        return [self._rows_and_labels()[0].path]

    def _rows_and_labels(self) -> tuple[Hdf5Rows, np.ndarray]:
        """The patches, not read yet, and their labels (N,) uint8."""
        patches, targets = (os.path.join(self.data_root or '', FILES.format(self.split, part)) for part in 'xy')
        rows, labels = Hdf5Rows(patches, 'x'), read_hdf5(targets, 'y')
        if len(rows.shape) != 4 or rows.shape[3] != 3 or rows.dtype != np.uint8:
            raise DataError(f'{patches}: "x": expected patches (N, height, width, 3) of uint8, got {rows.shape} of '
                            f'{rows.dtype}.')
        if not len(rows):
            raise DataError(f'{patches}: "x": there is no patch in it.')
        if labels.shape != (len(rows), *[1] * (labels.ndim - 1)):
            raise DataError(f'{targets}: "y": expected the labels of {patches}, ({len(rows)}, 1, 1, 1), got '
                            f'{labels.shape}. Both files must be whole, and of the same split.')
        labels = labels.reshape(-1)
        strange = np.flatnonzero((labels != 0) & (labels != 1))
        if len(strange):
            raise DataError(f'{targets}: "y": labels are 0 or 1, but row {strange[0]} is {labels[strange[0]]} '
                            f'({len(strange)} such rows).')
        return rows, labels.astype(np.uint8)

    def load_data_list(self) -> list[dict]:
        """One dict a patch, in the order of the files, with its row and label; the patch is read later."""
        self._rows, labels = self._rows_and_labels()
        print_log(f'PatchCamelyon {self._rows.path}: {len(labels)} patches, {labels.sum()} with tumour.', 'current')
        return [{'img_id': row, 'label': label} for row, label in enumerate(labels.tolist())]

    def get_data_info(self, idx: int) -> dict:
        """The entry of a patch, see the class; ``sample_idx`` is added."""
        info = super().get_data_info(idx)
        image = np.ascontiguousarray(self._rows[info['img_id']][..., ::-1])
        return info | {'img': image, 'img_shape': image.shape[:2], 'ori_shape': image.shape[:2],
                       'img_path': f'{self._rows.path}#{info["img_id"]}',
                       'gt_score': np.array([info.pop('label')], np.float32)}
