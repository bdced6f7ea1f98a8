"""Windows around a box: by hand, and that they hold what they must and nothing that they need not."""
import numpy as np
import pytest

from cxrdet.core.detection.windows import cut_boxes, visible_shares, window_around


@pytest.mark.parametrize(('avoid', 'margin', 'window'), [
    ([], 0.25, [0, 0, 160, 120]),
    ([[100, 70, 140, 100]], 0.25, [0, 0, 100, 120]),                         # 100 x 120 is more than 160 x 70
    ([[100, 70, 140, 100], [10, 20, 40, 50]], 0.25, [40, 0, 160, 70]),
    ([[92, 20, 120, 50]], 0.25, [0, 0, 92, 120]),                            # it stands in the margin of 7.5
    ([[85, 20, 120, 50]], 0.25, [0, 0, 160, 120]),                           # it reaches into the box: it stays
    ([[0, 52, 160, 120], [0, 0, 160, 18]], 0.25, [0, 18, 160, 52]),
    ([[90.4, 0, 120.7, 120]], 0, [0, 0, 90, 120])])
def test_by_hand(avoid, margin, window):
    assert window_around([60, 20, 90, 50], avoid, (120, 160), margin=margin).tolist() == window


@pytest.mark.parametrize('seed', range(20))
def test_what_must_hold(seed):
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 180, (25, 2))
    boxes = np.concatenate([corners, corners + rng.integers(4, 20, (25, 2))], axis=1).astype(float)
    for number, box in enumerate(boxes):
        others = np.delete(boxes, number, axis=0)
        window = window_around(box, others, (200, 200))
        assert 0 <= window[0] <= box[0] and box[2] <= window[2] <= 200
        assert 0 <= window[1] <= box[1] and box[3] <= window[3] <= 200
        seen = visible_shares(others, window)[1] > 0
        assert (seen == (visible_shares(others, box)[1] > 0)).all()  # only what reaches into the box itself


def test_cut_by_hand():
    """Of boxes of 10 x 10, 100 %, 50 %, 20 % and nothing lie in a window; the third leaves a remain of 2 x 10."""
    boxes = [[0, 0, 10, 10], [45, 0, 55, 10], [48, 20, 58, 30], [60, 0, 70, 10]]
    rows, parts, remains = cut_boxes(boxes, [0, 0, 50, 40])
    assert rows.tolist() == [0, 1] and parts.tolist() == [[0, 0, 10, 10], [45, 0, 50, 10]]
    assert remains.tolist() == [[48, 20, 50, 30]]
    assert [len(part) for part in cut_boxes(boxes, [0, 0, 50, 40], min_visibility=0)] == [3, 3, 0]
    assert [len(part) for part in cut_boxes([], [0, 0, 50, 40])] == [0, 0, 0]
