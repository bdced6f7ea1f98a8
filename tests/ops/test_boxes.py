"""Overlaps of boxes through ``mmcv.ops``: against torchvision and by hand."""
import pytest
import torch

FIRST = torch.tensor([[0., 0, 10, 10], [10, 10, 20, 20], [-5, -5, 5, 5]])
SECOND = torch.tensor([[0., 0, 10, 20], [0, 10, 10, 19], [10, 10, 20, 20]])


def test_equals_torchvision(ops, device):
    import torchvision
    result = ops.bbox_overlaps(FIRST.to(device), SECOND.to(device))
    torch.testing.assert_close(result.cpu(), torchvision.ops.box_iou(FIRST, SECOND))


@pytest.mark.parametrize(('mode', 'offset', 'expected'), [
    ('iou', 0, 100 / 200), ('iof', 0, 100 / 100), ('iou', 1, 11 * 11 / (11 * 21)), ('iof', 1, 1.0)])
def test_by_hand(ops, device, mode, offset, expected):
    pair = FIRST[:1].to(device), SECOND[:1].to(device)
    assert ops.bbox_overlaps(*pair, mode=mode, offset=offset).item() == pytest.approx(expected)
    assert ops.bbox_overlaps(*pair, mode=mode, offset=offset, aligned=True).tolist() == pytest.approx([expected])


def test_aligned_is_the_diagonal(ops):
    torch.testing.assert_close(ops.bbox_overlaps(FIRST, SECOND, aligned=True), ops.bbox_overlaps(FIRST, SECOND).diag())


def test_empty_and_without_area(ops):
    assert ops.bbox_overlaps(FIRST[:0], SECOND).shape == (0, 3)
    point = torch.tensor([[3., 3, 3, 3]])
    assert ops.bbox_overlaps(point, point).tolist() == [[0]]
    assert ops.bbox_overlaps(point, point, mode='iof').tolist() == [[0]]
