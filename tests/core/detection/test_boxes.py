"""Box arithmetic, against torchvision and against sums by hand."""
import numpy as np
import pytest
import torch

from cxrdet.core.detection import boxes as B

KINDS = pytest.mark.parametrize('kind', ['numpy', 'torch'])


def made(values, kind, dtype='float32'):
    array = np.asarray(values, dtype=dtype)
    return torch.from_numpy(array) if kind == 'torch' else array


def random_boxes(n, seed):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-20, 120, (n, 2, 2)).astype('float32')
    return np.concatenate([corners.min(1), corners.max(1)], -1)


def same_kind(result, kind):
    return isinstance(result, torch.Tensor if kind == 'torch' else np.ndarray)


@KINDS
def test_against_torchvision(kind):
    from torchvision import ops
    a, b = random_boxes(40, 0), random_boxes(30, 1)
    ta, tb = torch.from_numpy(a), torch.from_numpy(b)
    pairs = [
        (B.box_area(made(a, kind)), ops.box_area(ta)),
        (B.box_iou(made(a, kind), made(b, kind)), ops.box_iou(ta, tb)),
        (B.clip_boxes(made(a, kind), 80, 100), ops.clip_boxes_to_image(ta, (80, 100))),
        (B.xyxy_to_xywh(made(a, kind)), ops.box_convert(ta, 'xyxy', 'xywh')),
        (B.xywh_to_xyxy(made(a, kind)), ops.box_convert(ta, 'xywh', 'xyxy')),
    ]
    for ours, reference in pairs:
        assert same_kind(ours, kind)
        np.testing.assert_allclose(np.asarray(ours), reference.numpy(), rtol=1e-5, atol=1e-5)


@KINDS
@pytest.mark.parametrize(('a', 'b', 'iou'), [
    ([0, 0, 10, 10], [0, 0, 10, 10], 1.0),
    ([0, 0, 10, 10], [5, 0, 15, 10], 50 / 150),
    ([0, 0, 10, 10], [10, 0, 20, 10], 0.0),     # they touch
    ([0, 0, 10, 10], [2, 3, 6, 8], 20 / 100),   # one within the other
    ([3, 3, 3, 3], [3, 3, 3, 3], 0.0),          # no area: 0, not NaN
    ([9, 9, 1, 1], [0, 0, 10, 10], 0.0),        # inverted
])
@pytest.mark.parametrize('dtype', ['float16', 'float32', 'float64', 'int64'])
def test_iou_by_hand(a, b, iou, kind, dtype):
    got = B.box_iou(made([a], kind, dtype), made([b], kind, dtype))
    assert tuple(got.shape) == (1, 1)
    assert float(got[0, 0]) == pytest.approx(iou, rel=1e-6)


def test_half_precision_does_not_overflow():
    box = made([[0, 0, 1024, 1024]], 'torch', 'float16')  # the area exceeds the largest float16
    assert float(B.box_area(box)[0]) == 1024.0 ** 2
    assert float(B.box_iou(box, box)[0, 0]) == 1.0


@KINDS
def test_empty_input(kind):
    none = made(np.zeros((0, 4)), kind)
    some = made([[0, 0, 1, 1], [1, 1, 2, 2]], kind)
    assert tuple(B.box_iou(none, some).shape) == (0, 2)
    assert tuple(B.box_iou(some, none).shape) == (2, 0)
    assert tuple(B.box_area(none).shape) == (0,)
    assert tuple(B.degenerate_mask(none).shape) == (0,)
    for result in (B.clip_boxes(none, 5, 5), B.xywh_to_xyxy(none), B.xyxy_to_xywh(none)):
        assert tuple(result.shape) == (0, 4)
    assert B.box_area([]).shape == (0,)


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


@KINDS
def test_faults_one_by_one_and_as_masks(kind):
    boxes = made([box for box, _ in FAULTS], kind)
    assert [B.box_fault(box, 50, 100) for box, _ in FAULTS] == [fault for _, fault in FAULTS]
    degenerate = B.degenerate_mask(boxes)
    assert same_kind(degenerate, kind)
    assert degenerate.tolist() == [fault == 'degenerate' for _, fault in FAULTS]
    assert B.outside_mask(boxes[~degenerate], 50, 100).tolist() == [
        fault == 'outside' for _, fault in FAULTS if fault != 'degenerate']


def test_minimum_size_is_the_callers():
    assert B.box_fault((0, 0, 5, 5), 50, 50, min_size=10) == 'degenerate'
    assert B.degenerate_mask([[0, 0, 5, 5], [0, 0, 10, 10]], min_size=10).tolist() == [True, False]


@KINDS
def test_arguments_are_left_alone(kind):
    boxes = made([[-5, -5, 300, 300]], kind)
    B.clip_boxes(boxes, 10, 10)
    B.xyxy_to_xywh(boxes)
    assert boxes.tolist() == [[-5, -5, 300, 300]]


@pytest.mark.parametrize('shape', [(3, 5), (4,), (2, 2, 4), (0, 5)])
@pytest.mark.parametrize('function', [B.box_area, B.xywh_to_xyxy, B.xyxy_to_xywh, B.degenerate_mask])
def test_wrong_shape(function, shape):
    with pytest.raises(ValueError, match=r'boxes must have shape \(N, 4\), got \(' + str(shape[0])):
        function(np.zeros(shape))


def test_wrong_shape_names_the_argument():
    with pytest.raises(ValueError, match=r'b must have shape \(N, 4\), got \(2, 3\)'):
        B.box_iou(np.zeros((1, 4)), torch.zeros(2, 3))


def test_iou_of_an_array_with_a_tensor():
    with pytest.raises(TypeError, match='both be NumPy arrays or both torch tensors'):
        B.box_iou(np.zeros((1, 4)), torch.zeros(2, 4))


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
