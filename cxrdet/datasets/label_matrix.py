"""The labels of a whole data set as one matrix, whatever data set and wrappers it is made of."""
from collections.abc import Mapping

import numpy as np

from cxrdet.core.errors import DataError


def label_matrix(dataset) -> np.ndarray:
    """Labels of all samples, (N, C) float32 of 1, 0 and NaN, in the order of their indices.

    ``dataset`` is a data set, or a wrapper of MMEngine's around some, whose ``get_data_info(index)`` holds ``gt_score``
    (C values) or ``gt_label`` (the number of a class, or a list of numbers).

    Raises: DataError if the samples have neither, or unequal numbers of classes, or a label lies beyond their number.
    """
    number = len((getattr(dataset, 'metainfo', None) or {}).get('classes') or ())
    rows = [label_row(dataset.get_data_info(index), number, f'sample {index} of {type(dataset).__name__}')
            for index in range(len(dataset))]
    if len({row.shape for row in rows}) > 1:
        raise DataError(f'the samples of {type(dataset).__name__} have different numbers of labels: '
                        f'{sorted({row.shape for row in rows})}.')
    return np.array(rows, np.float32).reshape(len(rows), -1 if rows else number)


def label_row(info: Mapping, number: int, where: str) -> np.ndarray:
    """Labels of one sample, (C,) float64, from ``info``; raises DataError, which begins with ``where``, as above."""
    if info.get('gt_score') is not None:
        return np.asarray(info['gt_score'], np.float64)
    if info.get('gt_label') is None:
        raise DataError(f'{where} has neither gt_score nor gt_label; it has {", ".join(info)}.')
    row, labels = np.zeros(number), np.atleast_1d(np.asarray(info['gt_label'], np.int64))
    if labels.size and not 0 <= labels.min() <= labels.max() < number:
        raise DataError(f'{where} has the label {info["gt_label"]}, the data set has {number} classes.')
    row[labels] = 1
    return row
