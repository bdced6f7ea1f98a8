"""Matching in hand-made cases; the counts of random images are compared with pycocotools in test_detection.py."""
import numpy as np
import pytest

from cxrdet.core.detection.matching import as_boxes, match_boxes, match_labelled_boxes, overlaps

A, B, C = [0, 0, 10, 10], [20, 0, 30, 10], [0, 0, 10, 8]


def test_overlaps_equal_pycocotools():
    from pycocotools import mask
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 80, (70, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 40, (70, 2))], axis=1)
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    crowd = rng.random(30) < 0.3
    expected = mask.iou(xywh[:40], xywh[40:], crowd.astype(int).tolist())
    assert expected[:, crowd].max() == 1 and (expected > 0).sum() > 100
    np.testing.assert_allclose(overlaps(boxes[:40], boxes[40:], crowd), expected, atol=1e-12)


def test_overlaps_by_hand():
    # C covers 80 of the 100 pixels of A; for a crowd the union is the box alone
    np.testing.assert_allclose(overlaps([C], [A, A], [False, True]), [[0.8, 1.0]])
    assert overlaps([[5, 5, 5, 9]], [A], [True])[0, 0] == 0  # no area


@pytest.mark.parametrize('left, right', [(0, 0), (0, 3), (2, 0)])
def test_overlaps_of_nothing(left, right):
    assert overlaps([A] * left, [A] * right, [True] * right).shape == (left, right)


@pytest.mark.parametrize('boxes, scores, targets, ignore, expected', [
    # the better score takes the box, although the other one overlaps more
    ([C, A], [0.9, 0.8], [A], None, [0, -1]),
    # the same the other way round
    ([C, A], [0.8, 0.9], [A], None, [-1, 0]),
    # each takes the free box of highest overlap
    ([A, C], [0.9, 0.8], [C, A], None, [1, 0]),
    # equal scores keep their order
    ([A, A], [0.5, 0.5], [A], None, [0, -1]),
    # of equal overlaps the later box wins
    ([A], [0.5], [A, A], None, [1]),
    # too little overlap
    ([[0, 0, 10, 4.9]], [0.5], [A], None, [-1]),
    # exactly the threshold
    ([[0, 0, 10, 5]], [0.5], [A], None, [0]),
    # an ignored box takes any number of predictions
    ([A, A, B], [0.9, 0.8, 0.7], [A], [True], [0, 0, -1]),
    # but only those that fit no other
    ([A, A], [0.9, 0.8], [A, C], [True, False], [1, 0]),
    # a small box inside an ignored region
    ([[2, 2, 4, 4]], [0.9], [A], [True], [0]),
    # nothing to match
    ([], [], [A], None, []),
    ([A], [0.9], [], None, [-1]),
    ([], [], [], None, []),
])
def test_match_by_hand(boxes, scores, targets, ignore, expected):
    matches = match_boxes(boxes, scores, targets, ignore=ignore)
    assert matches.target.tolist() == expected
    assert matches.found.tolist() == [i in expected for i in range(len(targets))]
    assert matches.ignored.tolist() == [i >= 0 and bool((ignore or [False] * len(targets))[i]) for i in expected]


def test_match_gives_overlap():
    matches = match_boxes([C, B], [0.5, 0.5], [A])
    np.testing.assert_allclose(matches.iou, [0.8, 0.0])


def test_classes_are_kept_apart():
    matches = match_labelled_boxes([A, A, B], [0.9, 0.8, 0.7], [0, 1, 2], [B, A], [0, 1])
    assert matches.target.tolist() == [-1, 1, -1]
    assert matches.found.tolist() == [False, True]


@pytest.mark.parametrize('arguments, text', [
    (([A], [0.5, 0.5], [A]), r'expected one score a box, got 2 scores for 1 boxes'),
    (([A[:3]], [0.5], [A]), r'boxes: expected shape \(N, 4\) as x1, y1, x2, y2, got \(1, 3\)'),
    (([A], [0.5], [[0, 0, np.nan, 1]]), r'targets: row 0 holds a value that is not finite'),
])
def test_bad_input(arguments, text):
    with pytest.raises(ValueError, match=text):
        match_boxes(*arguments)


@pytest.mark.parametrize('iou_thr', [0, 1.5])
def test_bad_threshold(iou_thr):
    with pytest.raises(ValueError, match=r'iou_thr must lie in \(0, 1\]'):
        match_boxes([A], [0.5], [A], iou_thr=iou_thr)


def test_bad_lengths():
    with pytest.raises(ValueError, match='expected one ignore flag a target, got 2 for 1 targets'):
        match_boxes([A], [0.5], [A], ignore=[0, 1])
    with pytest.raises(ValueError, match='expected one label a box, got 2 for 1 boxes and 1 for 1 targets'):
        match_labelled_boxes([A], [0.5], [0, 1], [A], [0])


def test_as_boxes_takes_empty():
    assert as_boxes([]).shape == (0, 4)
