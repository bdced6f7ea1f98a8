"""NMS through ``mmcv.ops``: against torchvision, against loops written from the papers, and by hand."""
import math

import numpy as np
import pytest
import torch

HAND = [[0, 0, 10, 10], [0, 0, 10, 8], [20, 20, 30, 30]]  # IoU of the first two: 80 / 100


def random_boxes(count: int, seed: int, size: float = 60.0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    corner, extent = rng.uniform(-10, size, (count, 2)), rng.uniform(1, 25, (count, 2))
    boxes = np.concatenate([corner, corner + extent], axis=1)
    return torch.from_numpy(boxes).float(), torch.from_numpy(rng.permutation(count) / count + 0.01).float()


def iou(a, b, offset=0):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    area = [(c[2] - c[0] + offset) * (c[3] - c[1] + offset) for c in (a, b)]
    return width * height / (sum(area) - width * height)


def slow_soft_nms(boxes, scores, method, threshold, sigma, min_score, offset):
    """Figure 2 of the Soft-NMS paper; the box with the best score is kept whatever it is."""
    left = dict(enumerate(scores))
    result = []
    while left:
        best = max(left, key=left.get)
        result.append((best, left.pop(best)))
        for i in list(left):
            overlap = iou(boxes[best], boxes[i], offset)
            if method == 'gaussian':
                left[i] *= math.exp(-overlap**2 / sigma)
            elif overlap >= threshold:
                left[i] *= 0 if method == 'naive' else 1 - overlap
            if left[i] < min_score:
                del left[i]
    return result


@pytest.mark.parametrize('threshold', [0.1, 0.5, 0.9])
def test_nms_equals_torchvision(ops, device, threshold):
    import torchvision
    boxes, scores = random_boxes(80, seed=1)
    dets, keep = ops.nms(boxes.to(device), scores.to(device), threshold)
    expected = torchvision.ops.nms(boxes, scores, threshold)
    assert keep.device.type == device
    assert keep.tolist() == expected.tolist()
    assert torch.equal(dets.cpu(), torch.cat([boxes, scores[:, None]], 1)[expected])


@pytest.mark.parametrize(('threshold', 'offset', 'kept'), [
    (0.79, 0, [1, 2]), (0.81, 0, [1, 0, 2]),  # 80 / 100
    (0.81, 1, [1, 2]), (0.82, 1, [1, 0, 2]),  # with inclusive corners 11 * 9 / (11 * 11) = 0.818
])
def test_nms_threshold_and_offset_by_hand(ops, device, threshold, offset, kept):
    scores = torch.tensor([0.8, 0.9, 0.7])
    _, keep = ops.nms(torch.tensor(HAND).float().to(device), scores.to(device), threshold, offset=offset)
    assert keep.tolist() == kept


def test_nms_score_threshold_and_max_num(ops):
    boxes, scores = torch.tensor(HAND).float(), torch.tensor([0.8, 0.1, 0.9])
    assert ops.nms(boxes, scores, 0.5, score_threshold=0.5)[1].tolist() == [2, 0]
    assert ops.nms(boxes, scores, 0.5, max_num=1)[1].tolist() == [2]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_nms_in_other_precisions(ops, device, dtype):
    boxes, scores = torch.tensor(HAND).to(device, dtype), torch.tensor([0.8, 0.9, 0.7]).to(device, dtype)
    dets, keep = ops.nms(boxes, scores, 0.5)
    assert keep.tolist() == [1, 2]
    assert dets.dtype == dtype


@pytest.mark.parametrize('function', ['nms', 'soft_nms'])
def test_no_box_and_one_box(ops, device, function):
    dets, keep = getattr(ops, function)(torch.zeros(0, 4, device=device), torch.zeros(0, device=device), 0.5)
    assert dets.shape == (0, 5)
    assert keep.shape == (0,)
    assert keep.dtype == torch.long
    dets, keep = getattr(ops, function)(torch.tensor([[-5., 3, 900, 4]], device=device),
                                        torch.tensor([0.25], device=device), 0.5)
    assert dets.tolist() == [[-5, 3, 900, 4, 0.25]]
    assert keep.tolist() == [0]


def test_nms_of_numpy_arrays(ops):
    dets, keep = ops.nms(np.array(HAND, dtype=np.float32), np.array([0.8, 0.9, 0.7], dtype=np.float32), 0.5)
    assert isinstance(dets, np.ndarray)
    assert keep.tolist() == [1, 2]


def test_batched_nms_keeps_classes_apart(ops, device):
    boxes, scores = torch.tensor([HAND[0]] * 4).float().to(device), torch.tensor([0.1, 0.4, 0.3, 0.2], device=device)
    config = {'type': 'nms', 'iou_threshold': 0.5}
    classes = torch.tensor([0, 0, 1, 1], device=device)
    assert ops.batched_nms(boxes, scores, classes, config)[1].tolist() == [1, 2]
    assert ops.batched_nms(boxes, scores, classes, config, class_agnostic=True)[1].tolist() == [1]


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('min_score', [0.0, 0.2])
@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
def test_soft_nms_equals_the_paper(ops, method, min_score, offset):
    boxes, scores = random_boxes(40, seed=2)
    dets, keep = ops.soft_nms(boxes, scores, 0.3, sigma=0.5, min_score=min_score, method=method, offset=offset)
    expected = slow_soft_nms(boxes.tolist(), scores.tolist(), method, 0.3, 0.5, min_score, offset)
    assert len(expected) > 5
    if min_score == 0 and method == 'naive':  # boxes of score 0 follow in no particular order
        positive = sum(score > 0 for _, score in expected)
        assert sorted(keep.tolist()) == sorted(i for i, _ in expected)
        keep, dets, expected = keep[:positive], dets[:positive], expected[:positive]
    assert keep.tolist() == [i for i, _ in expected]
    np.testing.assert_allclose(dets[:, 4], [score for _, score in expected], rtol=1e-4, atol=1e-6)
    assert torch.equal(dets[:, :4], boxes[keep])


def test_soft_nms_by_hand(ops, device):
    boxes, scores = torch.tensor(HAND).float().to(device), torch.tensor([0.9, 0.8, 0.7], device=device)
    for method, lowered in (('linear', 0.8 * 0.2), ('gaussian', 0.8 * math.exp(-0.64 / 0.5))):
        dets, keep = ops.soft_nms(boxes, scores, 0.3, sigma=0.5, method=method)
        assert keep.tolist() == [0, 2, 1]
        assert dets.device.type == device
        np.testing.assert_allclose(dets[:, 4].cpu(), [0.9, 0.7, lowered], rtol=1e-6)


def test_soft_nms_always_keeps_the_best_box(ops):
    dets, keep = ops.soft_nms(torch.tensor(HAND).float(), torch.tensor([0.1, 0.2, 0.15]), 0.3, min_score=0.5)
    assert keep.tolist() == [1]
    np.testing.assert_allclose(dets, [[0, 0, 10, 8, 0.2]], rtol=1e-6)


@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
def test_soft_nms_of_boxes_without_area(ops, method):
    boxes = torch.tensor([[3., 1, 3, 1], [3, 1, 3, 1], [0, 0, 0, 5]])
    dets, keep = ops.soft_nms(boxes, torch.tensor([0.5, 0.9, 0.7]), 0.3, method=method)
    assert keep.tolist() == [1, 2, 0]
    np.testing.assert_allclose(dets[:, 4], [0.9, 0.7, 0.5], rtol=1e-6)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_soft_nms_in_other_precisions(ops, dtype):
    dets, keep = ops.soft_nms(torch.tensor(HAND).to(dtype), torch.tensor([0.9, 0.8, 0.7]).to(dtype), 0.3)
    assert keep.tolist() == [0, 2, 1]
    assert dets.dtype == dtype
    assert dets[2, 4].item() == pytest.approx(0.16, rel=2e-2)


def test_soft_nms_does_not_change_its_inputs(ops):
    boxes, scores = random_boxes(10, seed=3)
    before = boxes.clone(), scores.clone()
    ops.soft_nms(boxes, scores, 0.3)
    assert torch.equal(boxes, before[0])
    assert torch.equal(scores, before[1])


def test_soft_nms_order_of_ties_is_that_of_mmcv():
    """Dropping box 1 moves the last box into its place, so of the equal boxes 2 and 3 the latter comes first."""
    from cxrdet.ops.nms import softnms
    boxes = torch.tensor([[0., 0, 10, 10], [0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]])
    dets = torch.full((4, 5), -1.0)
    keep = softnms(boxes, torch.tensor([0.9, 0.8, 0.5, 0.5]), dets, 0.3, 0.5, 0.1, 0, 0)
    assert keep.tolist() == [0, 3, 2]
    assert dets[:3, 0].tolist() == [0, 40, 20]
    assert dets[3].tolist() == [-1] * 5


def test_soft_nms_unknown_method():
    from cxrdet.ops.nms import softnms
    with pytest.raises(ValueError, match=r'0 \(naive\), 1 \(linear\) and 2 \(gaussian\), not 3'):
        softnms(torch.zeros(1, 4), torch.zeros(1), torch.zeros(1, 5), 0.3, 0.5, 0.1, 3, 0)


def test_nms_match_by_hand(ops):
    scores = torch.tensor([[0.8], [0.9], [0.7]])
    dets = torch.cat([torch.tensor(HAND).float(), scores], dim=1)
    assert [group.tolist() for group in ops.nms_match(dets, 0.5)] == [[1, 0], [2]]
    assert [group.tolist() for group in ops.nms_match(dets, 0.8)] == [[1, 0], [2]]  # 0.8 itself suppresses
    assert [group.tolist() for group in ops.nms_match(dets, 0.81)] == [[1], [0], [2]]
    assert ops.nms_match(dets[:0], 0.5) == []
    assert [group.tolist() for group in ops.nms_match(dets.numpy(), 0.5)] == [[1, 0], [2]]


def test_nms_match_groups_are_those_of_nms(ops):
    import torchvision
    boxes, scores = random_boxes(50, seed=4)
    groups = [group.tolist() for group in ops.nms_match(torch.cat([boxes, scores[:, None]], 1), 0.3)]
    assert [group[0] for group in groups] == torchvision.ops.nms(boxes, scores, 0.3).tolist()
    assert sorted(sum(groups, [])) == list(range(50))
    assert all(iou(boxes[group[0]].tolist(), boxes[i].tolist()) >= 0.3 for group in groups for i in group[1:])
