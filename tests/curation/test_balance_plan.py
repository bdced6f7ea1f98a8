"""Which copies are made and which images go: by hand, and what must always hold."""
import numpy as np
import pytest

from cxrdet.curation.balance_plan import best_copy, image_to_leave_out


def test_by_hand():
    """Copy 0 brings the rare class 1 among nine of class 0 (1 - 9 = -8), copy 1 alone (1), less copies there are."""
    added = [[9, 1], [0, 1], [5, 0]]
    for used, expected in (([0, 0, 0], 1), ([0, 8, 0], 1), ([0, 10, 0], 0), ([0, 20, 0], 0), ([20, 20, 0], None)):
        assert best_copy(added, [14, 2], [0, 4], used=used) == expected, used
    assert best_copy(added, [14, 4], [0, 4], used=[0, 0, 0]) is None  # there is enough
    assert best_copy(added, [14, 2], [0, 4], used=[0, 20, 0], room=[8, 9]) is None  # too many of class 0
    assert best_copy([[1, 0], [0, 1]], [1, 1], [4, 3], used=[0, 0]) == 0  # lacks 3/4, the other 2/3
    assert best_copy([[0, 3], [0, 2]], [0, 1], [0, 2], used=[1, 0]) == 1  # only one is lacking: 1 - 1 < 1
    assert best_copy([[0, 1], [0, 1]], [0, 0], [0, 2], used=[0, -1]) == 1  # lost with its image: first
    assert best_copy([[0, 1], [0, 1]], [0, 0], [0, 2], used=[0, 0], tie=[.1, .9]) == 1


@pytest.mark.parametrize('seed', range(8))
def test_targets_are_reached_where_they_can_be(seed):
    rng = np.random.default_rng(seed)
    added = rng.poisson([2, .5, .05], (60, 3))
    added[0, 2] = 1
    targets, have, used = np.array([0, 80, 30]), added.sum(axis=0), np.zeros(60, int)
    while (choice := best_copy(added, have, targets, used=used, tie=rng.random(60))) is not None:
        assert (added[choice][have < targets] > 0).any()  # no copy without a class that lacked some
        used[choice] += 1
        have = have + added[choice]
    assert used.max() <= 20
    for k in (1, 2):
        assert have[k] >= targets[k] or (used[added[:, k] > 0] == 20).all()


def test_image_to_leave_out_by_hand():
    """Class 0 has 12 and may have 8; class 1 has 3 of 3. Image 0: 4 - 0, image 1: 4 (of 5) - 1, image 2: 3 - 0."""
    counts = np.array([[4, 0], [5, 1], [3, 0], [0, 2]])
    chosen = image_to_leave_out(counts, [12, 3], [8, 3], [8, 8])
    assert chosen == 0
    counts[0] = 0
    assert image_to_leave_out(counts, [8, 3], [8, 3], [8, 8]) is None
    assert image_to_leave_out(counts, [12, 9], [0, 3], [2, 8]) == 1
    assert image_to_leave_out([[0, 2]], [9, 2], [0, 3], [8, 8]) is None  # no image holds what is too much


def test_nothing_and_errors():
    assert best_copy(np.zeros((0, 2)), [0, 0], [3, 3], used=[]) is None
    assert best_copy([[0, 1]], [0, 5], [3, 0], used=[0]) is None  # a class that no image shows
    assert image_to_leave_out(np.zeros((0, 1)), [5], [0], [3]) is None
    with pytest.raises(ValueError, match=r'C targets of 0 or more, got \(1, 2\), \(1,\) and \[3\]'):
        best_copy([[1, 2]], [0, 0], [3], used=[0])
