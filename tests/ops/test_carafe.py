"""CARAFE through ``mmcv.ops``: against loops written from the paper, interpolation, and gradients."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

CASES = [(3, 1, 2), (5, 2, 2), (3, 2, 3), (1, 1, 1)]  # kernel, groups, scale
SHAPE = (2, 4, 3, 4)


def arguments(kernel, groups, scale, dtype=torch.float64, device='cpu'):
    rng = np.random.default_rng(0)
    batch, _, height, width = SHAPE
    arrays = rng.standard_normal(SHAPE), rng.standard_normal((batch, groups * kernel**2, height * scale, width * scale))
    return [torch.from_numpy(array).to(device, dtype).requires_grad_() for array in arrays]


def slow_carafe(features, masks, kernel, groups, scale):
    """Equation 4: X'(l') = sum over n, m in [-r, r] of W(l', n, m) * X(i + n, j + m), with l = floor(l' / s)."""
    batch, channels, height, width = features.shape
    output, radius = np.zeros((batch, channels, height * scale, width * scale)), kernel // 2
    for b, c, y, x in np.ndindex(output.shape):
        for n in range(-radius, radius + 1):
            for m in range(-radius, radius + 1):
                i, j = y // scale + n, x // scale + m
                if 0 <= i < height and 0 <= j < width:
                    k = c // (channels // groups) * kernel**2 + (n + radius) * kernel + m + radius
                    output[b, c, y, x] += masks[b, k, y, x] * features[b, c, i, j]
    return output


@pytest.mark.parametrize('case', CASES)
def test_equals_the_definition(ops, device, case):
    features, masks = arguments(*case, device=device)
    expected = slow_carafe(features.detach().cpu().numpy(), masks.detach().cpu().numpy(), *case)
    np.testing.assert_allclose(ops.carafe(features, masks, *case).detach().cpu(), expected, atol=1e-12)
    np.testing.assert_allclose(ops.carafe_naive(features, masks, *case).detach().cpu(), expected, atol=1e-12)


@pytest.mark.parametrize('case', CASES)
def test_gradients_by_finite_differences(ops, device, case):
    tensors = arguments(*case, device=device)
    assert gradcheck(lambda x, masks: ops.carafe(x, masks, *case), tensors, fast_mode=True, nondet_tol=1e-9)


def test_a_kernel_that_names_one_neighbour_moves_the_map(ops, device):
    """Kernels of zeros with a one at the upper left: each block of 2x2 holds the feature above and left of it."""
    features, masks = arguments(3, 1, 2, device=device)
    masks = torch.zeros_like(masks)
    masks[:, 0] = 1
    moved = F.pad(features, (1, 0, 1, 0))[:, :, :-1, :-1]
    torch.testing.assert_close(ops.carafe(features, masks, 3, 1, 2), F.interpolate(moved, scale_factor=2))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_reduced_precision(ops, device, dtype):
    """Sums are taken in float32 and rounded once."""
    low = [tensor.detach().to(dtype).requires_grad_() for tensor in arguments(5, 2, 2, device=device)]
    high = [tensor.detach().float().requires_grad_() for tensor in low]
    result, expected = ops.carafe(*low, 5, 2, 2), ops.carafe(*high, 5, 2, 2)
    assert result.dtype == dtype
    torch.testing.assert_close(result, expected.to(dtype))
    result.sum().backward()
    expected.sum().backward()
    for a, b in zip(low, high):
        torch.testing.assert_close(a.grad, b.grad.to(dtype))


def test_the_module_trains(ops, device, called):
    torch.manual_seed(0)
    layer = ops.CARAFEPack(4, 2, compressed_channels=3).to(device)
    x = torch.randn(1, 4, 5, 6, device=device, requires_grad=True)
    layer(x).square().sum().backward()
    assert called == {'carafe_forward', 'carafe_backward'}
    for tensor in (x, layer.content_encoder.weight, layer.channel_compressor.weight):
        assert tensor.grad.abs().sum() > 0
