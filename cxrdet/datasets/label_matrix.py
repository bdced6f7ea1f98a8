"""The labels of a whole data set as one matrix, whatever data set and wrappers it is made of."""
import numpy as np

from cxrdet.core.errors import DataError


def label_matrix(dataset) -> np.ndarray:
    """Labels of all samples, (N, C) float32 of 1, 0 and NaN, in the order of their indices.

    ``dataset`` is a data set, or a wrapper of MMEngine's around some, whose ``get_data_info(index)`` holds ``gt_score``
    (C values) or ``gt_label`` (the number of a class, or a list of numbers).

    Raises: DataError if the samples have neither, or unequal numbers of classes, or a label lies beyond their number.
    """
    rows, number = [], len((getattr(dataset, 'metainfo', None) or {}).get('classes') or ())
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        if info.get('gt_score') is not None:
            rows.append(np.asarray(info['gt_score'], np.float32))
        elif info.get('gt_label') is not None:
            row = np.zeros(number, np.float32)
            labels = np.atleast_1d(np.asarray(info['gt_label'], np.int64))
            if labels.size and not 0 <= labels.min() <= labels.max() < number:
                raise DataError(f'sample {index} has the label {info["gt_label"]}, the data set has {number} classes.')
            row[labels] = 1
            rows.append(row)
        else:
            raise DataError(f'sample {index} of {type(dataset).__name__} has neither gt_score nor gt_label; it has '
                            f'{", ".join(info)}.')
    if len({row.shape for row in rows}) > 1:
        raise DataError(f'the samples of {type(dataset).__name__} have different numbers of labels: '
                        f'{sorted({row.shape for row in rows})}.')
    return np.stack(rows) if rows else np.zeros((0, number), np.float32)
