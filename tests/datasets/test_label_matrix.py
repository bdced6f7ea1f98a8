"""label_matrix: data sets with scores, with numbers of classes, in wrappers, and without labels."""
import numpy as np
import pytest
from mmengine.dataset import ConcatDataset, RepeatDataset

from cxrdet.core.errors import DataError
from cxrdet.datasets.label_matrix import label_matrix


class Labelled:
    """What MMEngine's wrappers need of a data set."""

    _fully_initialized = True

    def __init__(self, entries, classes=('a', 'b', 'c')):
        self.entries, self.metainfo = entries, {'classes': classes}

    def full_init(self):
        pass

    def __len__(self):
        return len(self.entries)

    def get_data_info(self, index):
        return self.entries[index]


def test_scores_and_numbers_of_classes():
    matrix = label_matrix(Labelled([dict(gt_score=np.array([1, np.nan, 0])), dict(gt_label=2), dict(gt_label=[0, 1]),
                                    dict(gt_label=[])]))
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, [[1, np.nan, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0]])
    assert label_matrix(Labelled([])).shape == (0, 3)


def test_wrapped(monkeypatch):
    import mmengine.dataset.dataset_wrapper as wrapper
    monkeypatch.setattr(wrapper, 'BaseDataset', Labelled)
    one, two = Labelled([dict(gt_label=0)]), Labelled([dict(gt_label=1)])
    assert label_matrix(ConcatDataset([two, one, two])).argmax(axis=1).tolist() == [1, 0, 1]
    assert label_matrix(RepeatDataset(two, 3)).argmax(axis=1).tolist() == [1, 1, 1]


@pytest.mark.parametrize(('entry', 'message'), [
    (dict(img_path='x'), 'sample 1 of Labelled has neither gt_score nor gt_label; it has img_path'),
    (dict(gt_label=3), 'sample 1 of Labelled has the label 3, the data set has 3 classes'),
    (dict(gt_label=-1), 'sample 1 of Labelled has the label -1'),
    (dict(gt_score=[1, 0]), 'different numbers of labels'),
])
def test_errors(entry, message):
    with pytest.raises(DataError, match=message):
        label_matrix(Labelled([dict(gt_label=0), entry]))
