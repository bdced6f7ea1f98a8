"""Deformable RoI pooling through ``mmcv.ops``: against loops, published numbers, RoIAlign, and gradients."""
import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

# batch index and xyxy: inside, fractional, across the borders, beyond the image, without area, of negative size
ROIS = torch.tensor([[0, 1, 1, 6, 5], [1, 2.3, 0.7, 7.9, 6.2], [1, -3, -2, 4, 9], [0, 30, 30, 40, 40], [0, 3, 3, 3, 3],
                     [1, 5, 4, 3, 2]])
BINS = (3, 2)


def arguments(dtype=torch.float64, device='cpu', rois=ROIS):
    rng = np.random.default_rng(0)
    arrays = rng.standard_normal((2, 3, 8, 9)), rng.standard_normal((len(rois), 2, *BINS))
    features, offset = (torch.from_numpy(array).to(device, dtype).requires_grad_() for array in arrays)
    return features, rois.to(device, dtype), offset


def bilinear(plane: np.ndarray, y: float, x: float) -> float:
    """0 from one pixel outside on; up to there the map goes on as at the centres of its outermost pixels."""
    height, width = plane.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    total = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if row < height and column < width:
                total += (1 - abs(y - row)) * (1 - abs(x - column)) * plane[row, column]
    return total


def slow_deform_roi_pool(input, rois, offset, scale, ratio, gamma):
    """Equation 5: the mean over a bin of x(p0 + p + dp_ij), with dp_ij = gamma * offset * (width, height)."""
    result = np.zeros((len(rois), input.shape[1], *BINS))
    for r, c, i, j in np.ndindex(result.shape):
        x1, y1, x2, y2 = rois[r, 1:] * scale - 0.5
        width, height = x2 - x1, y2 - y1
        step = height / BINS[0], width / BINS[1]
        count = [ratio or max(math.ceil(s), 0) for s in step]
        dx, dy = gamma * offset[r, :, i, j] * (width, height) if offset is not None else (0, 0)
        samples = [bilinear(input[int(rois[r, 0]), c], y1 + dy + (i + (a + 0.5) / count[0]) * step[0],
                            x1 + dx + (j + (b + 0.5) / count[1]) * step[1])
                   for a in range(count[0]) for b in range(count[1])]
        result[r, c, i, j] = sum(samples) / max(len(samples), 1)
    return result


@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('moved', [False, True])
def test_equals_the_definition(ops, device, ratio, moved):
    features, rois, offset = arguments(device=device)
    result = ops.deform_roi_pool(features, rois, offset if moved else None, BINS, 0.9, ratio, 0.2)
    expected = slow_deform_roi_pool(*(tensor.detach().cpu().numpy() for tensor in (features, rois)),
                                    offset.detach().cpu().numpy() if moved else None, 0.9, ratio, 0.2)
    np.testing.assert_allclose(result.detach().cpu(), expected, atol=1e-12)
    assert result[0].abs().sum() > 0


@pytest.mark.parametrize(('features', 'rois', 'expected', 'gradient'), [
    ([[1, 2], [3, 4]], [0, 0, 0, 1, 1], [[1, 1.25], [1.5, 1.75]], [[3.0625, 0.4375], [0.4375, 0.0625]]),
    ([[1, 2, 5, 6], [3, 4, 7, 8], [9, 10, 13, 14], [11, 12, 15, 16]], [0, 0, 0, 3, 3],
     [[1.9375, 4.75], [7.5625, 10.375]],
     [[0.47265625, 0.4296875, 0.4296875, 0.04296875], [0.4296875, 0.390625, 0.390625, 0.0390625],
      [0.4296875, 0.390625, 0.390625, 0.0390625], [0.04296875, 0.0390625, 0.0390625, 0.00390625]])])
def test_equals_the_numbers_of_mmcv(ops, device, features, rois, expected, gradient):
    """Of mmcv's own test of its CUDA kernel: 2 x 2 bins, two samples in each direction."""
    features = torch.tensor([[features]], dtype=torch.float32, device=device, requires_grad=True)
    result = ops.DeformRoIPool(2, 1.0, 2)(features, torch.tensor([rois], dtype=torch.float32, device=device))
    torch.testing.assert_close(result.detach().cpu()[0, 0], torch.tensor(expected))
    result.sum().backward()
    torch.testing.assert_close(features.grad.cpu()[0, 0], torch.tensor(gradient))


@pytest.mark.parametrize('ratio', [0, 2])
def test_without_offsets_it_is_an_aligned_roi_align(ops, device, ratio):
    from torchvision.ops import roi_align
    features, rois, _ = arguments(device=device)
    result = ops.deform_roi_pool(features, rois[:5], None, BINS, 0.5, ratio)
    expected = roi_align(features, rois[:5], BINS, 0.5, ratio, aligned=True)
    torch.testing.assert_close(result, expected)
    probe = torch.linspace(-1, 1, result.numel(), dtype=result.dtype, device=device).view_as(result)
    torch.testing.assert_close(*(torch.autograd.grad(x, features, probe)[0] for x in (result, expected)))


@pytest.mark.parametrize('ratio', [0, 2])
def test_gradients_by_finite_differences(ops, device, ratio):
    features, rois, offset = arguments(device=device)
    assert gradcheck(lambda x, offset: ops.deform_roi_pool(x, rois, offset, BINS, 0.9, ratio, 0.2), (features, offset),
                     fast_mode=True, nondet_tol=1e-9)


def test_no_boxes(ops, device):
    features, rois, offset = arguments(device=device, rois=ROIS[:0])
    result = ops.deform_roi_pool(features, rois, offset, BINS)
    assert result.shape == (0, 3, *BINS)
    result.sum().backward()
    assert not features.grad.any()


@pytest.mark.parametrize('name', ['DeformRoIPoolPack', 'ModulatedDeformRoIPoolPack'])
def test_the_modules_train(ops, device, called, name):
    torch.manual_seed(0)
    layer = getattr(ops, name)(BINS, 3, deform_fc_channels=8, spatial_scale=0.9).to(device)
    torch.nn.init.normal_(layer.offset_fc[-1].weight)
    features, rois, _ = arguments(torch.float32, device)
    layer(features, rois).square().sum().backward()
    assert features.grad.abs().sum() > 0
    assert layer.offset_fc[0].weight.grad.abs().sum() > 0
    assert called == {'deform_roi_pool_forward', 'deform_roi_pool_backward'}


def test_half_precision(ops, device):
    features, rois, offset = arguments(torch.float16, device)
    result = ops.deform_roi_pool(features, rois, offset, BINS, 0.9, 2)
    exact = ops.deform_roi_pool(features.float(), rois.float(), offset.float(), BINS, 0.9, 2)
    assert result.dtype == torch.float16
    torch.testing.assert_close(result, exact.half())
