"""Box arithmetic, against torchvision and against sums by hand."""
import numpy as np
import pytest
import torch
from torchvision import ops

from cxrdet.core.detection import boxes as B


def random_boxes(n, seed):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-20, 120, (n, 2, 2)).astype('float32')
    return np.concatenate([corners.min(1), corners.max(1)], -1)


def test_against_torchvision():
    a, b = random_boxes(40, 0), random_boxes(30, 1)
    ta, tb = torch.from_numpy(a), torch.from_numpy(b)
    pairs = [
        (B.box_area(a), ops.box_area(ta)),
        (B.box_iou(a, b), ops.box_iou(ta, tb)),
        (B.clip_boxes(a, 80, 100), ops.clip_boxes_to_image(ta, (80, 100))),
        (B.xyxy_to_xywh(a), ops.box_convert(ta, 'xyxy', 'xywh')),
        (B.xywh_to_xyxy(a), ops.box_convert(ta, 'xywh', 'xyxy')),
    ]
    for ours, reference in pairs:
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, reference.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(('a', 'b', 'iou'), [
    ([0, 0, 10, 10], [0, 0, 10, 10], 1.0),
    ([0, 0, 10, 10], [5, 0, 15, 10], 50 / 150),
    ([0, 0, 10, 10], [10, 0, 20, 10], 0.0),     # they touch
    ([0, 0, 10, 10], [2, 3, 6, 8], 20 / 100),   # one within the other
    ([3, 3, 3, 3], [3, 3, 3, 3], 0.0),          # no area: 0, not NaN
    ([9, 9, 1, 1], [0, 0, 10, 10], 0.0),        # inverted
])
@pytest.mark.parametrize('dtype', ['float16', 'float32', 'float64', 'int64'])
def test_iou_by_hand(a, b, iou, dtype):
    got = B.box_iou(np.array([a], dtype), np.array([b], dtype))
    assert got.shape == (1, 1)
    assert float(got[0, 0]) == pytest.approx(iou, rel=1e-6)


def test_half_precision_does_not_overflow():
    box = np.array([[0, 0, 1024, 1024]], 'float16')  # the area exceeds the largest float16
    assert float(B.box_area(box)[0]) == 1024.0 ** 2
    assert float(B.box_iou(box, box)[0, 0]) == 1.0


def test_empty_input():
    none, some = np.zeros((0, 4), np.float32), np.array([[0, 0, 1, 1], [1, 1, 2, 2]], np.float32)
    assert (B.box_iou(none, some).shape, B.box_iou(some, none).shape) == ((0, 2), (2, 0))
    assert B.box_area(none).shape == B.box_area([]).shape == (0,)
    for result in (B.clip_boxes(none, 5, 5), B.xywh_to_xyxy(none), B.xyxy_to_xywh(none)):
        assert result.shape == (0, 4)
    assert B.box_faults(none, np.zeros((0, 2))) == []


FAULTS = [  # box, fault in an image 50 high and 100 wide
    ((0, 0, 100, 50), ''),
    ((-5, -5, 3, 3), ''),                    # partly outside stays
    ((10, 10, 11, 11), ''),                  # one pixel
    ((10, 10, 10.9, 40), 'degenerate'),
    ((10, 10, 40, 10), 'degenerate'),
    ((40, 40, 10, 10), 'degenerate'),        # inverted
    ((0, 0, float('nan'), 9), 'degenerate'),
    ((0, 0, float('inf'), 9), 'degenerate'),
    ((100, 0, 120, 20), 'outside'),          # touches the right edge
    ((0, 50, 20, 70), 'outside'),
    ((-30, 0, 0, 20), 'outside'),
    ((0, -30, 20, 0), 'outside'),
]


def test_faults_one_by_one_and_together():
    boxes, faults = zip(*FAULTS)
    assert tuple(B.box_fault(box, 50, 100) for box in boxes) == faults
    assert tuple(B.box_faults(np.array(boxes), np.array([[50, 100]] * len(boxes)))) == faults


def test_arguments_are_left_alone():
    boxes = np.array([[-5, -5, 300, 300]], np.float32)
    B.clip_boxes(boxes, 10, 10)
    B.xyxy_to_xywh(boxes)
    assert boxes.tolist() == [[-5, -5, 300, 300]]


@pytest.mark.parametrize('shape', [(3, 5), (4,), (2, 2, 4), (0, 5)])
@pytest.mark.parametrize('function', [B.box_area, B.xywh_to_xyxy, B.xyxy_to_xywh])
def test_wrong_shape(function, shape):
    with pytest.raises(ValueError, match=r'boxes must have shape \(N, 4\), got \(' + str(shape[0])):
        function(np.zeros(shape))


def test_wrong_shape_names_the_argument():
    with pytest.raises(ValueError, match=r'b must have shape \(N, 4\), got \(2, 3\)'):
        B.box_iou(np.zeros((1, 4)), np.zeros((2, 3)))


def test_turned_box():
    """By 90 degrees width and height change places; by 45 a square of side 2 spans its diagonal, sqrt(8)."""
    assert B.turned_box((10, 20, 30, 60), 90) == pytest.approx([40, 30, 40, 50, 0, 50, 0, 30])
    assert B.turned_box((10, 20, 30, 60), 90, about_corner=True) == pytest.approx([10, 20, 10, 40, -30, 40, -30, 20])
    points = B.turned_box((-1, -1, 1, 1), 45)
    assert max(points[::2]) == -min(points[1::2]) == pytest.approx(2 ** 0.5)
    assert np.isnan(B.turned_box((0, 0, 1, 1), float('inf'))).all()


@pytest.mark.parametrize('degrees, box', [(0, [2, 16, 18, 24]), (90, [6, 12, 14, 28]), (180, [2, 16, 18, 24])])
def test_ellipse_box(degrees, box):
    """Against points on the outline, too."""
    assert B.ellipse_box((10, 20), (8, 4), degrees) == pytest.approx(box)
    turn, round_ = np.radians(degrees + 30), np.linspace(0, 2 * np.pi, 100001)
    x = 10 + 8 * np.cos(round_) * np.cos(turn) - 4 * np.sin(round_) * np.sin(turn)
    y = 20 + 8 * np.cos(round_) * np.sin(turn) + 4 * np.sin(round_) * np.cos(turn)
    assert B.ellipse_box((10, 20), (8, 4), degrees + 30) == pytest.approx([x.min(), y.min(), x.max(), y.max()])


def test_infinite_corners_give_no_warning(recwarn):
    boxes = np.array([[np.inf, 0., np.inf, 5.], [-1e308, -1e308, 1e308, 1e308]])
    assert np.isnan(B.box_area(boxes)[0]) and np.isnan(B.xyxy_to_xywh(boxes)[0, 2])
    assert B.box_area(boxes)[1] == np.inf and not recwarn.list
