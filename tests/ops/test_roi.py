"""RoIAlign and RoIPool through ``mmcv.ops``: against loops written from the definitions, torchvision, and gradients."""
import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

# batch index and xyxy: inside, fractional, across the borders, beyond the image, without area
ROIS = torch.tensor([[0, 1, 1, 6, 5], [1, 2.3, 0.7, 7.9, 6.2], [1, -3, -2, 4, 9], [0, 30, 30, 40, 40], [0, 3, 3, 3, 3]])


def features(dtype=torch.float64, device='cpu') -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 8, 9))).to(device, dtype)


def bilinear(plane: np.ndarray, y: float, x: float) -> float:
    """Value between pixel centres at whole coordinates; 0 beyond one pixel outside, the border's value until there."""
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    fy, fx = y - top, x - left
    return ((1 - fy) * ((1 - fx) * plane[top, left] + fx * plane[top, right]) + fy *
            ((1 - fx) * plane[bottom, left] + fx * plane[bottom, right]))


def slow_roi_align(input, rois, size, scale, ratio, aligned):
    result = np.zeros((len(rois), input.shape[1], *size))
    for r, roi in enumerate(rois):
        x1, y1, x2, y2 = roi[1:] * scale - (0.5 if aligned else 0)
        height, width = y2 - y1, x2 - x1
        if not aligned:
            height, width = max(height, 1), max(width, 1)
        step = height / size[0], width / size[1]
        count = [ratio if ratio > 0 else math.ceil(s) for s in step]
        for c, i, j in np.ndindex(result.shape[1:]):
            samples = [bilinear(input[int(roi[0]), c], y1 + step[0] * (i + (a + 0.5) / count[0]),
                                x1 + step[1] * (j + (b + 0.5) / count[1]))
                       for a in range(count[0]) for b in range(count[1])]
            result[r, c, i, j] = sum(samples) / max(len(samples), 1)
    return result


def slow_roi_pool(input, rois, size, scale):
    """mmcv's bins: fractional corners, the lower right one inclusive; (output, argmax)."""
    result = np.zeros((len(rois), input.shape[1], *size))
    argmax = np.full(result.shape, -1)
    height, width = input.shape[2:]
    for r, roi in enumerate(rois):
        x1, y1, x2, y2 = roi[1] * scale, roi[2] * scale, (roi[3] + 1) * scale, (roi[4] + 1) * scale
        for c, i, j in np.ndindex(result.shape[1:]):
            top, bottom = math.floor(y1 + i * (y2 - y1) / size[0]), math.ceil(y1 + (i + 1) * (y2 - y1) / size[0])
            left, right = math.floor(x1 + j * (x2 - x1) / size[1]), math.ceil(x1 + (j + 1) * (x2 - x1) / size[1])
            cells = [(y, x) for y in range(max(top, 0), min(bottom, height))
                     for x in range(max(left, 0), min(right, width))]
            if cells and x2 > x1 and y2 > y1:
                y, x = max(cells, key=lambda cell: input[int(roi[0]), c][cell])
                result[r, c, i, j], argmax[r, c, i, j] = input[int(roi[0]), c, y, x], y * width + x
    return result, argmax


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('scale', [1.0, 0.5])
def test_roi_align_equals_the_definition(ops, device, scale, ratio, aligned):
    input = features(device=device)
    result = ops.roi_align(input, ROIS.double().to(device), (2, 3), scale, ratio, 'avg', aligned)
    expected = slow_roi_align(input.cpu().numpy(), ROIS.double().numpy(), (2, 3), scale, ratio, aligned)
    assert np.abs(expected[2]).max() > 0.1
    np.testing.assert_allclose(result.cpu(), expected, atol=1e-9)


def test_roi_align_module_equals_torchvision(ops, device):
    import torchvision
    input, rois = features(torch.float32, device), ROIS.to(device)
    result = ops.RoIAlign((3, 2), spatial_scale=0.5, sampling_ratio=2, aligned=True)(input, rois)
    expected = torchvision.ops.roi_align(input, rois, (3, 2), 0.5, 2, aligned=True)
    torch.testing.assert_close(result, expected)


def test_roi_align_by_hand(ops, device):
    """A ramp is reproduced exactly: the mean over a bin is the value at its centre, x - 0.5 in whole coordinates."""
    ramp = torch.arange(6.0, device=device).expand(1, 1, 6, 6)
    result = ops.roi_align(ramp, torch.tensor([[0., 1, 1, 5, 5]], device=device), (2, 2), 1.0, 2, 'avg', True)
    torch.testing.assert_close(result[0, 0].cpu(), torch.tensor([[1.5, 3.5], [1.5, 3.5]]))


@pytest.mark.parametrize('name', ['roi_align', 'roi_pool'])
def test_batch_index(ops, device, name):
    input = torch.stack([torch.full((1, 4, 4), 1.0), torch.full((1, 4, 4), 2.0)]).to(device)
    rois = torch.tensor([[1, 0, 0, 3, 3], [0, 0, 0, 3, 3], [1, 1, 1, 2, 2.]], device=device)
    assert getattr(ops, name)(input, rois, (1, 1)).flatten().tolist() == [2, 1, 2]


@pytest.mark.parametrize('name', ['roi_align', 'roi_pool'])
def test_no_boxes(ops, device, name):
    input = features(torch.float32, device).requires_grad_()
    result = getattr(ops, name)(input, torch.zeros(0, 5, device=device), (2, 2))
    assert result.shape == (0, 3, 2, 2)
    result.sum().backward()
    assert input.grad.abs().sum() == 0


@pytest.mark.parametrize('aligned', [True, False])
def test_roi_align_gradient(ops, device, aligned):
    input, rois = features(device=device)[:, :1].requires_grad_(), ROIS[:3].double().to(device)
    assert gradcheck(lambda x: ops.roi_align(x, rois, (2, 2), 0.8, 2, 'avg', aligned), (input,), nondet_tol=1e-9)


def test_roi_align_maximum_is_refused(ops):
    with pytest.raises(NotImplementedError, match=r"pool_mode='max' is not available without a compiled mmcv"):
        ops.roi_align(features(), ROIS.double(), (2, 2), 1.0, 2, 'max', True)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('name', ['roi_align', 'roi_pool'])
def test_reduced_precision(ops, device, name, dtype):
    """Forward and gradient equal those in float32 of the same rounded inputs, up to the last rounding."""
    input, rois = features(dtype, device), ROIS.to(device, dtype)
    exact, reduced = input.float().requires_grad_(), input.requires_grad_()
    expected, result = (getattr(ops, name)(x, rois.to(x.dtype), (2, 2)) for x in (exact, reduced))
    assert result.dtype == dtype
    torch.testing.assert_close(result.float(), expected, rtol=1e-2, atol=1e-2)
    result.sum().backward()
    expected.sum().backward()
    assert reduced.grad.dtype == dtype
    torch.testing.assert_close(reduced.grad.float(), exact.grad, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize('scale', [1.0, 0.5, 0.3])
def test_roi_pool_equals_the_definition(ops, device, scale):
    from cxrdet.ops.roi import roi_pool_forward
    input, rois = features(device=device), ROIS.double().to(device)
    output = input.new_zeros(len(rois), 3, 3, 2)
    argmax = torch.zeros(output.shape, dtype=torch.int, device=device)
    roi_pool_forward(input, rois, output, argmax, 3, 2, scale)
    expected, places = slow_roi_pool(input.cpu().numpy(), rois.cpu().numpy(), (3, 2), scale)
    np.testing.assert_allclose(output.cpu(), expected)
    np.testing.assert_array_equal(argmax.cpu(), places)
    torch.testing.assert_close(ops.roi_pool(input, rois, (3, 2), scale), output)


def test_roi_pool_equals_torchvision_for_whole_pixels(ops, device):
    import torchvision
    input, rois = features(torch.float32, device), torch.tensor([[0, 0, 1, 5, 6], [1, 3, 2, 8, 7.]], device=device)
    torch.testing.assert_close(ops.RoIPool((2, 3))(input, rois), torchvision.ops.roi_pool(input, rois, (2, 3)))


def test_roi_pool_by_hand(ops, device):
    """Corners of the four 2 x 2 quarters of 0..15; a box turned inside out gives 0 and no gradient."""
    input = torch.arange(16.0, device=device).view(1, 1, 4, 4).requires_grad_()
    rois = torch.tensor([[0., 0, 0, 3, 3], [0, 3, 3, 0, 0]], device=device)
    result = ops.roi_pool(input, rois, (2, 2))
    assert result[:, 0].tolist() == [[[5, 7], [13, 15]], [[0, 0], [0, 0]]]
    (result * torch.tensor([[1., 2], [3, 4]], device=device)).sum().backward()
    assert {i: g for i, g in enumerate(input.grad.flatten().tolist()) if g} == {5: 1, 7: 2, 13: 3, 15: 4}


def test_roi_pool_gradient(ops, device):
    input, rois = features(device=device)[:, :1].requires_grad_(), ROIS.double().to(device)
    assert gradcheck(lambda x: ops.roi_pool(x, rois, (2, 3), 0.7), (input,), nondet_tol=1e-9)
