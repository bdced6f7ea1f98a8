"""Average precision by hand and against pycocotools' rule written out slowly."""
import numpy as np
import pytest

from cxrdet.core.detection.average_precision import average_precision, class_precisions


def slow(scores, hits, n):
    """The definition, word by word: at each recall the best precision of all thresholds that reach it."""
    order, points, found = sorted(range(len(scores)), key=lambda i: -scores[i]), [], 0
    for k, i in enumerate(order, 1):
        found += hits[i]
        points.append((found / n, found / k))
    return sum(max([p for r, p in points if r >= level / 100], default=0) for level in range(101)) / 101


@pytest.mark.parametrize('seed', range(20))
def test_equals_the_slow_version(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 60))
    scores, hits = rng.integers(0, 12, n) / 12, rng.random(n) < 0.6
    targets = int(hits.sum() + rng.integers(1, 20))
    assert average_precision(scores, hits, targets) == pytest.approx(slow(scores.tolist(), hits.tolist(), targets))


@pytest.mark.parametrize('scores, hits, n, expected', [
    ([.9, .8, .7], [1, 0, 1], 2, (51 + 50 * 2 / 3) / 101),  # precision 1 up to recall 0.5, then 2/3
    ([.9], [1], 1, 1),
    ([.9], [0], 1, 0),
    ([], [], 3, 0),
    ([.9], [0], 0, np.nan),
])
def test_by_hand(scores, hits, n, expected):
    np.testing.assert_allclose(average_precision(scores, hits, n), expected)


def test_classes():
    np.testing.assert_allclose(class_precisions([0, 1, 1], [.9, .8, .7], [1, 0, 1], [1, 1, 0]), [1, .5, np.nan])
    assert class_precisions([], [], [], []).shape == (0, )


def test_lengths():
    with pytest.raises(ValueError, match='one score a detection, got 2 scores and 1 hits'):
        average_precision([1, 2], [1], 1)
