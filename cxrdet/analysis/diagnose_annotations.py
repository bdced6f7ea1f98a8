"""The checks of annotations, run on the training set that a config names."""
import os
from typing import Any

import numpy as np
from mmengine.config import Config

from cxrdet.core.annotation_quality import annotation_quality
from cxrdet.core.errors import CxrdetError
from cxrdet.core.issues import DataTable
from cxrdet.curation.checks import check_table
from cxrdet.datasets.formats.sets import read_set
from cxrdet.datasets.formats.voc import read_list
from cxrdet.preflight.check import Part, examine

__all__ = ['training_quality']


def training_quality(cfg: Config) -> dict[str, Any]:
    """Quality of the annotations of the first data set of ``train_dataloader``.

    The images are not opened. Of listed crops and chest films the whole table is checked, whatever the split.

    Returns: as :func:`cxrdet.core.annotation_quality.annotation_quality`, or {'unknown': why} for a set that cannot
        be read by the checks.
    """
    sets = examine(cfg).data_sets('train_dataloader')
    if not sets:
        return {'unknown': 'the config has no training data'}
    try:
        table, chosen = _table(sets[0])
    except CxrdetError as error:
        return {'unknown': str(error)}
    if table is None:
        return {'unknown': f'the checks do not know sets of the type {sets[0].cfg.get("type")}'}
    return annotation_quality(table, check_table(table), chosen)


def _table(part: Part) -> tuple[DataTable | None, np.ndarray]:
    """The set as the checks read it, and which of its images the data set takes."""
    cfg, root = part.cfg, str(part.cfg.get('data_root') or '')
    kinds = {base.__name__ for base in getattr(part.found, '__mro__', ())}
    prefix = cfg.get('data_prefix') or {}
    named = os.path.join(root, str(cfg.get('ann_file') or ''))
    table, names = None, None
    if 'CellVOCDataset' in kinds:
        folder = os.path.join(root, (prefix or {}).get('ann', 'Annotations/'))
        table = read_set(os.path.dirname(os.path.normpath(folder)), 'voc', allow_outside=True)
        names = set(read_list(named)) if cfg.get('ann_file') else None
    elif 'CellTFRecordDataset' in kinds:
        table = read_set(named, 'tfrecord')
    elif 'CocoDataset' in kinds:
        images = os.path.join(root, prefix.get('img', 'images/' if 'CellDataset' in kinds else ''))
        table = read_set(named, 'coco', images=images, allow_outside=True)
    elif kinds & {'CSVImageDataset', 'NIHChestXray14'}:
        table = read_set(root, 'csv' if 'CSVImageDataset' in kinds else 'nih', allow_outside=True)
    chosen = np.zeros(0, bool) if table is None else np.array(
        [names is None or name in names for name in table.names], bool)
    return table, chosen
