"""Which images are repeated: by hand, and what must always hold."""
import numpy as np
import pytest

from cxrdet.core.balancing import plan_repeats


def test_by_hand():
    # image 0 holds the rare class 1 among many of class 0, image 1 holds it alone: image 1 is repeated
    assert plan_repeats([[9, 1], [0, 1], [5, 0]], [0, 4]).tolist() == [1, 0]
    assert plan_repeats([[9, 1], [0, 1], [5, 0]], [0, 2]).tolist() == []
    assert plan_repeats([[1, 0], [0, 1]], [3, 2]).tolist() == [0, 1, 0] or \
        sorted(plan_repeats([[1, 0], [0, 1]], [3, 2]).tolist()) == [0, 0, 1]


@pytest.mark.parametrize('seed', range(8))
def test_targets_are_reached_where_they_can_be(seed):
    rng = np.random.default_rng(seed)
    counts = rng.poisson([4, .5, .05], (60, 3))
    counts[0, 2] = 1
    targets = np.array([0, 80, 30])
    chosen = plan_repeats(counts, targets, max_repeats=20, seed=seed)
    after = counts.sum(0) + counts[chosen].sum(0)
    used = np.bincount(chosen, minlength=60)
    assert used.max() <= 20
    for k in (1, 2):
        assert after[k] >= targets[k] or (used[counts[:, k] > 0] == 20).all()
    assert (counts[chosen][:, 1:] > 0).any(axis=1).all()  # no image without a class that lacked some
    assert chosen.tolist() == plan_repeats(counts, targets, seed=seed).tolist()


def test_goes_on_where_it_stopped():
    assert len(plan_repeats([[1]], [5], have=[5])) == 0
    assert len(plan_repeats([[1]], [50], used=[18])) == 2


def test_nothing_and_errors():
    assert plan_repeats(np.zeros((0, 2)), [3, 3]).tolist() == []
    assert plan_repeats([[0, 1]], [3, 0]).tolist() == []  # a class that no image shows
    with pytest.raises(ValueError, match=r'C targets of 0 or more, got \(1, 2\) and \[3\]'):
        plan_repeats([[1, 2]], [3])
