"""Which image is annotated next: orders and numbers by hand, the entropy against SciPy."""
import numpy as np
import pytest
from scipy.stats import entropy

from cxrdet.core.annotation_order import (
    class_weakness,
    detection_priorities,
    multi_label_priorities,
    ranking,
    single_label_priorities,
)


def test_weakness():
    assert class_weakness([1, 0.25, None, float('nan'), 1.2]).tolist() == [0, 0.75, 1, 1, 0]
    assert class_weakness([1, 0.75, 0.5, 0.4], chance=0.5).tolist() == [0, 0.5, 1, 1]


def test_single_label_by_hand():
    """Entropies 1, 0 and 1 bit of log2(4) = 2; the first is between classes of weakness 0 and 0.5: 0.5 * 1.25."""
    prob = [[.5, .5, 0, 0], [0, 0, 1, 0], [0, 0, .5, .5], [.25, .25, .25, .25]]
    got = single_label_priorities(prob, [0, .5, 1, 1])
    assert got.uncertainty.tolist() == [.5, 0, .5, 1]
    assert got.priority.tolist() == [.625, 0, 1, 1.625] and got.label.tolist() == [0, 2, 2, 0]
    assert ranking(got.priority).tolist() == [3, 2, 0, 1]
    margin = single_label_priorities([[.6, .3, .1, 0], [.5, .5, 0, 0]], [0, 0, 0, 0], measure='margin')
    assert margin.priority == pytest.approx([.7, 1])


def test_entropy_is_the_known_one():
    prob = np.random.default_rng(0).dirichlet(np.ones(7), 50)
    got = single_label_priorities(prob, np.zeros(7))
    np.testing.assert_allclose(got.priority, entropy(prob, base=7, axis=1))
    single = np.random.default_rng(1).random((50, 1))
    np.testing.assert_allclose(multi_label_priorities(single, [0]).priority,
                               entropy(np.hstack([single, 1 - single]), base=2, axis=1))


def test_multi_label_by_hand():
    """Of two labels the one that is unsure has weakness 1 in the first image and 0 in the second: 2 / 2 and 1 / 2."""
    got = multi_label_priorities([[0, .5], [.5, 1], [0, 1]], [0, 1])
    assert got.priority.tolist() == [1, .5, 0] and got.uncertainty.tolist() == [.5, .5, 0]
    assert got.label.tolist()[:2] == [1, 0]
    assert multi_label_priorities([[.9, .5]], [0, 0], measure='margin').priority == pytest.approx([.6])


def test_detections_by_hand():
    """A score of 0.5 is one bit: two of a strong class are worth one of a class of weakness 1; sure ones nothing."""
    scores = [[.5, .5], [.5], [1., 1., 1.], [], [.5, .5, 1.]]
    labels = [[0, 0], [1], [1, 1, 1], [], [0, 1, 1]]
    got = detection_priorities(scores, labels, [0, 1])
    assert got.priority.tolist() == [2, 2, 0, 0, 3] and got.uncertainty.tolist() == [2, 1, 0, 0, 2]
    assert got.label.tolist() == [0, 1, 1, -1, 1] and ranking(got.priority).tolist() == [4, 0, 1, 2, 3]


def test_nothing_and_errors():
    assert len(detection_priorities([], [], [0]).priority) == 0 and len(ranking([])) == 0
    assert single_label_priorities(np.zeros((0, 2)), [0, 0]).priority.shape == (0,)
    with pytest.raises(ValueError, match=r'expected probabilities \(N, 3\), got \(1, 2\)'):
        multi_label_priorities([[1, 0]], [0, 0, 0])
    with pytest.raises(ValueError, match='one of entropy, margin, got "enthropy"'):
        detection_priorities([], [], [0], measure='enthropy')
