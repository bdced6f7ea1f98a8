"""fuse_known against fusion label by label, and by hand."""
import numpy as np
import pytest
import torch

from cxrdet.core.detection.fusion import FUSIONS, fuse
from cxrdet.core.detection.member_fusion import fusable, fuse_known

A, B = [10., 10., 30., 30.], [12., 10., 32., 30.]


def given(library=np):
    """Three models; the last one does not know label 1, the first not label 2."""
    rows = [([A, B], [0.9, 0.6], [0, 1]), ([B, A, B], [0.5, 0.4, 0.3], [0, 1, 2]), ([A, A], [0.3, 0.7], [0, 2])]
    array = np.array if library is np else torch.tensor
    return [[array(row[i]) for row in rows] for i in range(3)], [{0, 1}, {0, 1, 2}, {0, 2}]


@pytest.mark.parametrize('library', [np, torch], ids=['numpy', 'torch'])
@pytest.mark.parametrize('weights', [None, [2, 1, 1]])
@pytest.mark.parametrize('fusion', FUSIONS)
def test_each_label_is_fused_by_those_who_know_it(fusion, weights, library):
    columns, known = given(library)
    found = np.column_stack([np.asarray(column) for column in fuse_known(*columns, known, fusion=fusion,
                                                                         weights=weights)])
    assert (np.diff(found[:, 4]) <= 0).all()
    for label in range(3):
        models = [i for i in range(3) if label in known[i]]
        own = [[np.asarray(columns[k][i])[np.asarray(columns[2][i]) == label] for i in models] for k in range(3)]
        expected = np.column_stack(fuse(*own, fusion=fusion, weights=weights and [weights[i] for i in models]))
        np.testing.assert_allclose(found[found[:, 5] == label], expected, rtol=1e-6)


def test_silence_of_who_does_not_know_counts_for_nothing():
    """By hand: of two models one knows the label, and its 0.9 stays; where both know it, it is (0.9 + 0) / 2."""
    one = [np.array([A]), np.zeros((0, 4))], [np.array([0.9]), np.zeros(0)], [np.array([1]), np.zeros(0, int)]
    assert fuse_known(*one, [{0, 1}, {0}], fusion='voting')[1] == pytest.approx([0.9])
    assert fuse_known(*one, [{0, 1}, {0, 1}], fusion='voting')[1] == pytest.approx([0.45])
    assert len(fuse_known(*one, [{0}, {0}], fusion='voting')[1]) == 0  # a label that nobody knows


def test_the_best_stay():
    columns, known = given()
    boxes, scores, labels = fuse_known(*columns, known, fusion='nms', most=2)
    assert boxes.tolist() == [A, A] and scores.tolist() == [0.9, 0.7] and labels.tolist() == [0, 2]


def test_models_without_weight():
    columns, known = given()
    labels = fuse_known(*columns, known, weights=[0, 0, 1])[2]
    assert set(labels.tolist()) == {0, 2}  # who knows label 1 has no weight


@pytest.mark.parametrize(('known', 'more', 'message'), [
    ([{0}, {0}], {}, 'known labels and weights of the same models'),
    ([{0}, {0}, {0}], dict(weights=[1, 1]), 'known labels and weights of the same models'),
    ([{0}, {0}, {0}], dict(weights=[0, 0, 0]), 'no model with a weight knows a label'),
    ([(), (), ()], {}, 'no model with a weight knows a label'),
    ([{0}, {0}, {0}], dict(fusion='wfb'), 'Did you mean "wbf"'),
])
def test_what_is_refused(known, more, message):
    with pytest.raises(ValueError, match=message):
        fuse_known(*given()[0], known, **more)


@pytest.mark.parametrize('library', [np, torch], ids=['numpy', 'torch'])
def test_boxes_that_can_be_fused(library):
    array, inf, nan = np.array if library is np else torch.tensor, float('inf'), float('nan')
    boxes = [A, [30., 10., 10., 30.], [10., 30., 30., 10.], [10., 10., 10., 30.], [0., 0., inf, 1.],
             [-inf, 0., inf, 1.], [0., nan, 1., 1.], A, A, A]
    mask = fusable(array(boxes), array([0.5] * 7 + [nan, inf, -1.]))
    assert type(mask) is type(array([True]))
    assert mask.tolist() == [True, False, False, True, False, False, False, False, False, True]
    assert fusable(array(boxes)[:0], array([0.5])[:0]).tolist() == []
