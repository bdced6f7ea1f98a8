"""Deformable convolution v1 and v2 through ``mmcv.ops``: against loops, torchvision, plain convolution, gradients."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

CASES = [{'stride': 1, 'padding': 1, 'dilation': 1, 'groups': 1, 'deform_groups': 1},
         {'stride': (2, 1), 'padding': (0, 2), 'dilation': (1, 2), 'groups': 2, 'deform_groups': 2}]
DYHEAD = {'stride': 1, 'padding': (1, 0), 'dilation': 1, 'groups': 1, 'deform_groups': 2}
OPTIONS = ('stride', 'padding', 'dilation', 'groups', 'deform_groups')
KERNEL = (3, 2)


def arguments(case, batch=2, dtype=torch.float64, device='cpu', offsets=1.5):
    """input (B, 4, 6, 7), offset, mask, weight (6, 4 / groups, 3, 2), bias; offsets stay off the grid's kinks."""
    rng = np.random.default_rng(0)
    stride, padding, dilation = (np.broadcast_to(case[name], 2) for name in ('stride', 'padding', 'dilation'))
    size = [(n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, p, d, k, s in zip((6, 7), padding, dilation, KERNEL, stride)]
    points = case['deform_groups'] * KERNEL[0] * KERNEL[1]
    offset = rng.uniform(-offsets, offsets, (batch, 2 * points, *size))
    offset = np.floor(offset) + 0.1 + 0.8 * (offset - np.floor(offset))
    arrays = (rng.standard_normal((batch, 4, 6, 7)), offset, rng.uniform(0, 1, (batch, points, *size)),
              rng.standard_normal((6, 4 // case['groups'], *KERNEL)), rng.standard_normal(6))
    return [torch.from_numpy(array).to(device, dtype) for array in arrays]


def sample(plane: np.ndarray, y: float, x: float) -> float:
    """Bilinear value with zeros around the plane."""
    total = 0.0
    for row in (int(np.floor(y)), int(np.floor(y)) + 1):
        for column in (int(np.floor(x)), int(np.floor(x)) + 1):
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                total += (1 - abs(y - row)) * (1 - abs(x - column)) * plane[row, column]
    return total


def slow_deform_conv(input, offset, mask, weight, bias, case):
    """Equation 1 of DCNv2 (with mask 1: equation 2 of DCN): y(p) = sum_k w_k * x(p + p_k + dp_k) * m_k."""
    stride, padding, dilation = (np.broadcast_to(case[name], 2) for name in ('stride', 'padding', 'dilation'))
    output = np.zeros((len(input), len(weight), *offset.shape[2:]))
    points = weight.shape[2] * weight.shape[3]
    per_group, per_deform = weight.shape[1], input.shape[1] // case['deform_groups']
    for b, o, i, j in np.ndindex(output.shape):
        for c, u, v in np.ndindex(weight.shape[1:]):
            channel = o // (len(weight) // case['groups']) * per_group + c
            k = channel // per_deform * points + u * weight.shape[3] + v
            y = i * stride[0] - padding[0] + u * dilation[0] + offset[b, 2 * k, i, j]
            x = j * stride[1] - padding[1] + v * dilation[1] + offset[b, 2 * k + 1, i, j]
            output[b, o, i, j] += weight[o, c, u, v] * mask[b, k, i, j] * sample(input[b, channel], y, x)
        output[b, o, i, j] += bias[o]
    return output


def v1(ops, case, im2col_step=32):
    options = *(case[name] for name in OPTIONS), False, im2col_step
    return lambda x, offset, weight: ops.deform_conv2d(x, offset, weight, *options)


def v2(ops, case):
    options = [case[name] for name in OPTIONS]
    return lambda x, offset, mask, weight, b=None: ops.modulated_deform_conv2d(x, offset, mask, weight, b, *options)


@pytest.mark.parametrize('case', CASES)
def test_equals_the_definition(ops, device, case):
    x, offset, mask, weight, bias = arguments(case, device=device)
    x[:, :, 2, 3] = 9  # a value that stands out: x and y of an offset must not be exchanged
    slow = [tensor.cpu().numpy() for tensor in (x, offset, mask, weight, bias)]
    np.testing.assert_allclose(v2(ops, case)(x, offset, mask, weight, bias).cpu(), slow_deform_conv(*slow, case))
    slow[2], slow[4] = np.ones_like(slow[2]), np.zeros_like(slow[4])
    np.testing.assert_allclose(v1(ops, case)(x, offset, weight).cpu(), slow_deform_conv(*slow, case))


@pytest.mark.parametrize('case', CASES)
def test_gradients_equal_torchvision(ops, device, case):
    from torchvision.ops import deform_conv2d
    tensors = [tensor.requires_grad_() for tensor in arguments(case, dtype=torch.float32, device=device)]
    x, offset, mask, weight, bias = tensors
    options = {name: case[name] for name in ('stride', 'padding', 'dilation')}
    pairs = [(v2(ops, case)(*tensors), deform_conv2d(x, offset, weight, bias, mask=mask, **options), tensors),
             (v1(ops, case)(x, offset, weight), deform_conv2d(x, offset, weight, **options), [x, offset, weight])]
    for result, expected, inputs in pairs:
        torch.testing.assert_close(result, expected)
        probe = torch.randn(result.shape, generator=torch.Generator().manual_seed(0)).to(device)
        gradients = (torch.autograd.grad(output, inputs, probe) for output in (result, expected))
        torch.testing.assert_close(*gradients)


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('version', [1, 2])
def test_gradients_by_finite_differences(ops, device, version, case):
    x, offset, mask, weight, bias = (t.requires_grad_() for t in arguments(case, batch=1, device=device, offsets=0.5))
    options = {'nondet_tol': 1e-9, 'fast_mode': True}
    if version == 1:
        assert gradcheck(v1(ops, case), (x, offset, weight), **options)
    else:
        assert gradcheck(v2(ops, case), (x, offset, mask, weight, bias), **options)
        assert gradcheck(v2(ops, case), (x, offset, mask, weight), **options)


def test_without_offsets_it_is_a_convolution(ops, device):
    x, offset, mask, weight, bias = arguments(CASES[1], device=device)
    options = {name: CASES[1][name] for name in ('stride', 'padding', 'dilation', 'groups')}
    offset, mask = torch.zeros_like(offset), torch.ones_like(mask)
    torch.testing.assert_close(v1(ops, CASES[1])(x, offset, weight), F.conv2d(x, weight, **options))
    torch.testing.assert_close(v2(ops, CASES[1])(x, offset, mask, weight, bias), F.conv2d(x, weight, bias, **options))


def test_far_outside_is_zero(ops, device):
    x, offset, mask, weight, bias = arguments(CASES[0], device=device)
    result = v2(ops, CASES[0])(x, offset + 100, mask, weight, bias)
    torch.testing.assert_close(result, bias[None, :, None, None].expand_as(result))


def test_batch_in_steps(ops, device):
    x, offset, _, weight, _ = arguments(CASES[0], batch=4, device=device)
    steps, whole = v1(ops, CASES[0], im2col_step=2), v1(ops, CASES[0])
    torch.testing.assert_close(steps(x, offset, weight), whole(x, offset, weight))


def finer(dtype=torch.float64, device='cpu'):
    """Arguments of v2 whose offsets and masks have more places (9, 8) than the output (6, 6): as DyHead gives them."""
    x, offset, mask, weight, bias = arguments(DYHEAD, dtype=dtype, device=device)
    rng = np.random.default_rng(1)
    finer = [torch.from_numpy(rng.uniform(0.1, 0.9, (*tensor.shape[:2], 9, 8))) for tensor in (offset, mask)]
    return [x, *(tensor.to(device, dtype) for tensor in finer), weight, bias]


def test_offsets_of_a_finer_map_are_read_as_memory(ops, device):
    """Offset k of place (i, j) is number (k * 6 + i) * 6 + j of its image, as mmcv's kernel computes the address."""
    tensors = finer(device=device)
    flat = [tensor.cpu().numpy() for tensor in tensors]
    for index in (1, 2):
        memory, read = flat[index].reshape(2, -1), np.empty((*flat[index].shape[:2], 6, 6))
        for b, k, i, j in np.ndindex(read.shape):
            read[b, k, i, j] = memory[b][(k * 6 + i) * 6 + j]
        flat[index] = read
    np.testing.assert_allclose(v2(ops, DYHEAD)(*tensors).cpu(), slow_deform_conv(*flat, DYHEAD))


def test_gradients_of_a_finer_map(ops, device):
    """What is not read has none."""
    tensors = [tensor.requires_grad_() for tensor in finer(device=device)]
    assert gradcheck(v2(ops, DYHEAD), tensors, nondet_tol=1e-9, fast_mode=True)
    v2(ops, DYHEAD)(*tensors).sum().backward()
    for tensor in tensors[1:3]:
        read = tensor.shape[1] * 6 * 6
        assert tensor.grad.flatten(1)[:, read - 36:read].any()
        assert not tensor.grad.flatten(1)[:, read:].any()


def test_offsets_of_a_coarser_map_are_refused(ops, device):
    """mmcv would read beyond them."""
    x, offset, mask, weight, bias = finer(device=device)
    with pytest.raises(RuntimeError, match='offset'):
        v2(ops, DYHEAD)(x, offset[..., :3], mask[..., :3], weight, bias)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_reduced_precision(ops, device, dtype):
    """The type of the offset decides, as in mmcv; results equal those in float32 of the same rounded inputs."""
    reduced = [tensor.to(dtype).requires_grad_() for tensor in arguments(CASES[0], device=device)]
    exact = [tensor.detach().float().requires_grad_() for tensor in reduced]
    result, expected = v2(ops, CASES[0])(*reduced), v2(ops, CASES[0])(*exact)
    assert result.dtype == dtype
    torch.testing.assert_close(result.float(), expected, rtol=2e-2, atol=5e-2)
    result.sum().backward()
    expected.sum().backward()
    for low, high in zip(reduced, exact):
        assert low.grad.dtype == dtype
        torch.testing.assert_close(low.grad.float(), high.grad, rtol=2e-2, atol=0.1)
    assert v1(ops, CASES[0])(reduced[0].float(), reduced[1], reduced[3].float()).dtype == dtype


@pytest.mark.parametrize('name', ['DeformConv2dPack', 'ModulatedDeformConv2dPack'])
def test_mixed_precision_training(ops, device, called, name):
    torch.manual_seed(0)
    layer = getattr(ops, name)(4, 6, 3, padding=1, deform_groups=2).to(device)
    torch.nn.init.normal_(layer.conv_offset.weight, std=0.1)
    x = torch.randn(2, 4, 7, 5, device=device, requires_grad=True)
    with torch.autocast(device, torch.bfloat16):
        result = layer(x)
    assert result.dtype == torch.bfloat16
    result.float().square().sum().backward()
    for tensor in (x, layer.weight, layer.conv_offset.weight):
        assert tensor.grad.isfinite().all()
        assert tensor.grad.abs().sum() > 0
    prefix = 'modulated_' if name.startswith('Mod') else ''
    assert {name for name in called if name.startswith(f'{prefix}deform_conv')} == called
    assert f'{prefix}deform_conv_forward' in called
