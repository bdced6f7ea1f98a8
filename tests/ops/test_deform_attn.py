"""Multi-scale deformable attention: against loops written from the paper, mmcv's own PyTorch path, and gradients."""
import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

SHAPES = [(3, 4), (2, 2), (1, 1)]
STARTS = [0, 12, 16]


def arguments(dtype=torch.float64, device='cpu', queries=3):
    """value (2, 17, 2, 3), shapes, starts, locations (2, Q, 2, 3, 2, 2) partly outside [0, 1], weights summing to 1."""
    rng = np.random.default_rng(0)
    value = rng.standard_normal((2, 17, 2, 3))
    locations = rng.uniform(-0.2, 1.2, (2, queries, 2, 3, 2, 2))
    weights = rng.uniform(0.1, 1, (2, queries, 2, 3, 2))
    weights /= weights.sum((-1, -2), keepdims=True)
    value, locations, weights = (torch.from_numpy(a).to(device, dtype) for a in (value, locations, weights))
    return value, torch.tensor(SHAPES, device=device), torch.tensor(STARTS, device=device), locations, weights


def function(ops):
    return ops.multi_scale_deform_attn.MultiScaleDeformableAttnFunction.apply


def slow_attention(value, locations, weights):
    """Equation 3: sum over levels and points of weight * value at (x * W - 0.5, y * H - 0.5), zeros outside."""
    batch, _, heads, channels = value.shape
    output = np.zeros((batch, locations.shape[1], heads, channels))
    for b, q, m, level, p in np.ndindex(weights.shape):
        height, width = SHAPES[level]
        plane = value[b, STARTS[level]:STARTS[level] + height * width, m].reshape(height, width, channels)
        x, y = locations[b, q, m, level, p] * (width, height) - 0.5
        for row in (int(np.floor(y)), int(np.floor(y)) + 1):
            for column in (int(np.floor(x)), int(np.floor(x)) + 1):
                if 0 <= row < height and 0 <= column < width:
                    share = (1 - abs(y - row)) * (1 - abs(x - column))
                    output[b, q, m] += weights[b, q, m, level, p] * share * plane[row, column]
    return output.reshape(batch, locations.shape[1], heads * channels)


def test_equals_the_paper(ops, device):
    value, shapes, starts, locations, weights = arguments(device=device)
    result = function(ops)(value, shapes, starts, locations, weights, 64)
    assert result.is_contiguous()
    np.testing.assert_allclose(result.cpu(), slow_attention(*(t.cpu().numpy() for t in (value, locations, weights))))


def test_gradients_equal_the_pytorch_path_of_mmcv(ops, device):
    value, shapes, starts, locations, weights = arguments(device=device)
    inputs = [tensor.requires_grad_() for tensor in (value, locations, weights)]
    result = function(ops)(value, shapes, starts, locations, weights, 64)
    expected = ops.multi_scale_deform_attn.multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)
    torch.testing.assert_close(result, expected)
    probe = torch.randn(result.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(device)
    torch.testing.assert_close(torch.autograd.grad(result, inputs, probe), torch.autograd.grad(expected, inputs, probe))


def test_gradients_by_finite_differences(ops, device):
    value, shapes, starts, locations, weights = arguments(device=device)
    assert gradcheck(lambda v, x, w: function(ops)(v, shapes, starts, x, w, 64),
                     [tensor.requires_grad_() for tensor in (value, locations, weights)], nondet_tol=1e-9,
                     fast_mode=True)


def test_by_hand(ops, device):
    """One level of 1 x 2 pixels with the values 10 and 20: their centres are at x = 1/4 and 3/4."""
    value = torch.tensor([10.0, 20.0], device=device).view(1, 2, 1, 1)
    x = torch.tensor([0.25, 0.5, 0.75, 1.0, 9.0], device=device)
    locations = torch.stack([x, torch.full_like(x, 0.5)], -1).view(1, 5, 1, 1, 1, 2)
    result = function(ops)(value, torch.tensor([[1, 2]], device=device), torch.tensor([0], device=device), locations,
                           torch.ones(1, 5, 1, 1, 1, device=device), 64)
    assert result.flatten().tolist() == pytest.approx([10, 15, 20, 10, 0])


def test_no_queries(ops, device):
    value, shapes, starts, locations, weights = arguments(device=device, queries=0)
    assert function(ops)(value, shapes, starts, locations, weights, 64).shape == (2, 0, 6)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_reduced_precision(ops, device, dtype):
    """The type of the value decides, as in mmcv; also under autocast."""
    value, shapes, starts, locations, weights = arguments(dtype, device)
    value.requires_grad_()
    with torch.autocast(device, torch.bfloat16):
        result = function(ops)(value, shapes, starts, locations.float(), weights.float(), 64)
    assert result.dtype == dtype
    expected = slow_attention(*(t.detach().cpu().float().numpy() for t in (value, locations, weights)))
    np.testing.assert_allclose(result.detach().float().cpu(), expected, rtol=2e-2, atol=1e-2)
    result.sum().backward()
    assert value.grad.dtype == dtype
    assert value.grad.abs().sum() > 0
