"""The columns behind FROC, by hand."""
import numpy as np
import pytest

from cxrdet.core.detection.lesions import lesion_table

A, B = [0, 0, 10, 10], [50, 0, 60, 10]


def test_by_hand():
    found = [{'boxes': [A, A, B, [0, 0, 10, 4]], 'scores': [.9, .8, .7, .6], 'labels': [0, 0, 1, 0]},
             {'boxes': [], 'scores': [], 'labels': []}, {'boxes': [A], 'scores': [.5], 'labels': [1]}]
    truth = [{'boxes': [A, B], 'labels': [0, 1], 'ignore': [False, True]}, {'boxes': [A, B], 'labels': [1, 1]},
             {'boxes': [], 'labels': []}]
    table = lesion_table(found, truth, 2)
    assert table.scores.tolist() == [.9, .8, .6, .5]  # the one on the ignored box is left out
    assert table.hits.tolist() == [True, False, False, False]
    assert table.labels.tolist() == [0, 0, 0, 1] and table.image.tolist() == [0, 0, 0, 2]
    assert table.lesions.tolist() == [[1, 0], [0, 2], [0, 0]]
    low = lesion_table([{'boxes': [[0, 0, 10, 4]], 'scores': [.6], 'labels': [0]}], truth[:1], 2, iou_thr=.4)
    assert low.hits.tolist() == [True]


def test_nothing():
    table = lesion_table([], [], 3)
    assert table.lesions.shape == (0, 3) and len(table.scores) == 0 and table.image.dtype == np.int64


@pytest.mark.parametrize('label, text', [(2, r'image 0: predicted labels must lie in 0\.\.1, got 2\.\.2')])
def test_errors(label, text):
    with pytest.raises(ValueError, match=text):
        lesion_table([{'boxes': [A], 'scores': [1], 'labels': [label]}], [{'boxes': [], 'labels': []}], 2)
