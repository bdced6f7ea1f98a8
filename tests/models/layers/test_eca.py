"""ECA against numpy written from equations 5 and 12 of the paper."""
import math

import numpy as np
import pytest
import torch

from cxrdet.models.layers.eca import ECA, eca_kernel_size


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference(x, kernel):
    """Channel by channel: the gate of c from the means of the channels c - k // 2 .. c + k // 2."""
    n, c, half = *x.shape[:2], len(kernel) // 2
    out = np.empty_like(x)
    for b in range(n):
        means = [x[b, i].mean() for i in range(c)]
        for i in range(c):
            total = sum(kernel[j + half] * means[i + j] for j in range(-half, half + 1) if 0 <= i + j < c)
            out[b, i] = sigmoid(total) * x[b, i]
    return out


@pytest.mark.parametrize(('channels', 'kernel_size', 'size'), [
    (64, None, (9, 6)), (5, 3, (3, 5)), (3, 7, (1, 1)), (1, 1, (2, 2)), (2, None, (1, 7)),
])
def test_equals_the_equation(channels, kernel_size, size):
    torch.manual_seed(0)
    layer = ECA(channels, kernel_size).double()
    x = torch.randn(2, channels, *size, dtype=torch.float64)
    want = reference(x.numpy(), layer.conv.weight.detach().numpy().ravel())
    np.testing.assert_allclose(layer(x).detach().numpy(), want, rtol=1e-12, atol=1e-14)


def test_by_hand():
    # three channels with means 2, 0, 1 and kernel (.01, .1, 1): sums .2 + 0, .02 + 0 + 1, 0 + .1
    layer = ECA(3, 3).double()
    layer.conv.weight.data.copy_(torch.tensor([.01, .1, 1.], dtype=torch.float64).view(1, 1, 3))
    x = torch.tensor([[[[1., 3.]], [[0., 0.]], [[2., 0.]]]], dtype=torch.float64)
    gates = [sigmoid(.2), sigmoid(1.02), sigmoid(.1)]
    want = [1 * gates[0], 3 * gates[0], 0, 0, 2 * gates[2], 0]
    np.testing.assert_allclose(layer(x).detach().numpy().ravel(), want, rtol=1e-12)


# (log2(C) + 1) / 2: 512 -> 5; 256 -> 4.5; 128 -> 4, between 3 and 5, goes up; 64 -> 3.5; 2048 -> 6; 16 -> 2.5; 4 -> 1.5
@pytest.mark.parametrize(('channels', 'expected'), [
    (1, 1), (4, 1), (8, 3), (16, 3), (64, 3), (128, 5), (256, 5), (512, 5), (1024, 5), (2048, 7),
])
def test_kernel_size_and_parameter_count(channels, expected):
    exact = (math.log2(channels) + 1) / 2
    assert abs(expected - exact) == min(abs(odd - exact) for odd in range(1, 15, 2))
    layer = ECA(channels)
    assert eca_kernel_size(channels) == sum(p.numel() for p in layer.parameters()) == expected


def test_gamma_and_b():
    assert eca_kernel_size(256, gamma=1, b=1) == 9
    assert ECA(256, gamma=4, b=2).conv.weight.shape == (1, 1, 3)  # 10 / 4 = 2.5


def test_channels_have_an_order_and_positions_have_none():
    torch.manual_seed(0)
    layer, x = ECA(16), torch.randn(1, 16, 4, 5)
    order, mixed = torch.randperm(20), torch.randperm(16)
    shuffled = x.flatten(2)[..., order].view_as(x)
    torch.testing.assert_close(layer(shuffled), layer(x).flatten(2)[..., order].view_as(x))
    assert not torch.allclose(layer(x[:, mixed]), layer(x)[:, mixed], atol=1e-3)


def test_gradient():
    torch.manual_seed(0)
    layer = ECA(4, 3).double()
    x = torch.randn(2, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    weight = layer.conv.weight
    assert torch.autograd.gradcheck(lambda x, w: torch.func.functional_call(layer, {'conv.weight': w}, (x,)),
                                    (x, weight))


@pytest.mark.parametrize(('args', 'kwargs', 'message'), [
    ((0,), {}, r'in_channels must lie in \[1, .* got 0'),
    ((8,), {'gamma': 0}, r'gamma must lie in \(0, .* got 0'),
    ((8, 4), {}, 'kernel_size must be odd and positive, got 4'),
    ((8, -1), {}, 'kernel_size must be odd and positive, got -1'),
])
def test_bad_arguments(args, kwargs, message):
    with pytest.raises(ValueError, match=message):
        ECA(*args, **kwargs)
