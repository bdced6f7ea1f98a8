"""Linear BoT attention against numpy with explicit kernel sums over pairs of positions, and its order of growth."""
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from cxrdet.models.layers.bot_attention import BoTAttention
from cxrdet.models.layers.linear_bot_attention import LinearBoTAttention, elu_plus_one


def phi(x):
    return np.where(x > 0, x, np.exp(x) - 1) + 1


def reference(x, state, heads):
    """Position by position, in float64: sum_b phi(q_a) . phi(k_b) v_b / sum_b phi(q_a) . phi(k_b)."""
    n, c, height, width = x.shape
    qkv, project = state['qkv.weight'][:, :, 0, 0], state['project.weight'][:, :, 0, 0]
    mid = len(qkv) // 3
    d = mid // heads
    out = np.empty((n, c, height * width))
    for b in range(n):
        points = x[b].reshape(c, -1).T
        for a, point in enumerate(points):
            parts = []
            for head in range(heads):
                rows = slice(head * d, (head + 1) * d)
                q = phi(qkv[:mid][rows] @ point)
                weights = [q @ phi(qkv[mid:2 * mid][rows] @ other) for other in points]
                values = [qkv[2 * mid:][rows] @ other for other in points]
                parts.append(sum(w * v for w, v in zip(weights, values)) / sum(weights))
            out[b, :, a] = point + state['scale'] * (project @ np.concatenate(parts))
    return out.reshape(x.shape)


def layer_of(channels, heads=4, **kwargs):
    torch.manual_seed(0)
    layer = LinearBoTAttention(channels, heads, **kwargs).double()
    layer.scale.data.normal_()
    return layer


@pytest.mark.parametrize(('channels', 'heads', 'kwargs', 'size'), [
    (8, 4, {}, (4, 3)), (6, 2, {'mid_channels': 4}, (5, 3)), (5, 1, {}, (1, 6)), (4, 4, {'mid_channels': 16}, (7, 1)),
    (3, 3, {}, (1, 1)),
])
def test_equals_the_equation(channels, heads, kwargs, size):
    layer = layer_of(channels, heads, **kwargs)
    x = 3 * torch.randn(2, channels, *size, dtype=torch.float64)
    state = {key: value.numpy() for key, value in layer.state_dict().items()}
    np.testing.assert_allclose(layer(x).detach().numpy(), reference(x.numpy(), state, heads), rtol=1e-9, atol=1e-12)


def test_by_hand():
    # one channel, q = k = v = x = (1, 0, -1): phi = (2, 1, 1/e); o = (2 * 1 + 1 * 0 - 1/e) / (3 + 1/e) everywhere
    layer = LinearBoTAttention(1, 1).double()
    for parameter, value in ((layer.qkv.weight, 1.), (layer.project.weight, 1.), (layer.scale, 2.)):
        parameter.data.fill_(value)
    o = (2 - np.exp(-1)) / (3 + np.exp(-1))
    x = torch.tensor([[[[1., 0., -1.]]]], dtype=torch.float64)
    np.testing.assert_allclose(layer(x).detach().numpy().ravel(), [1 + 2 * o, 2 * o, -1 + 2 * o], rtol=1e-12)


def test_feature_map_keeps_its_digits():
    x = torch.tensor([-30., -5., 0., 2.5])
    np.testing.assert_allclose(elu_plus_one(x), [np.exp(-30.), np.exp(-5.), 1, 3.5], rtol=1e-6)
    assert torch.nn.functional.elu(x)[0] + 1 == 0  # what the textbook form makes of the first in float32


@pytest.mark.parametrize('value', [-1e4, 1e4])
def test_no_nan_where_the_kernel_vanishes(value):
    layer = LinearBoTAttention(4)
    for parameter in layer.parameters():
        parameter.data.fill_(1.)
    x = torch.full((1, 4, 2, 3), value, requires_grad=True)
    out = layer(x)
    out.sum().backward()
    assert torch.isfinite(out).all()
    assert torch.isfinite(x.grad).all()


def test_parameter_count():
    assert sum(p.numel() for p in LinearBoTAttention(512).parameters()) == 4 * 512 * 512 + 512  # 1,049,088
    assert sum(p.numel() for p in LinearBoTAttention(64, mid_channels=16).parameters()) == 4 * 64 * 16 + 64


def test_positions_may_be_permuted():
    layer, x = layer_of(8), torch.randn(2, 8, 4, 5, dtype=torch.float64)
    order = torch.randperm(20)
    shuffled = x.flatten(2)[..., order].view(2, 8, 2, 10)
    torch.testing.assert_close(layer(shuffled).flatten(2), layer(x).flatten(2)[..., order])


def test_gradient():
    layer = layer_of(4, 2)
    x = torch.randn(1, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    names, values = zip(*layer.named_parameters())
    assert torch.autograd.gradcheck(
        lambda x, *values: torch.func.functional_call(layer, dict(zip(names, values)), (x,)), (x, *values))


# ---------------------------------------------------------------- order of growth
class Largest(TorchDispatchMode):
    """Numbers in the largest tensor that any operation gives."""
    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.numel = max([self.numel, *(x.numel() for x in (out if isinstance(out, (tuple, list)) else [out])
                                        if isinstance(x, torch.Tensor))])
        return out


def flops_and_largest(layer, size):
    x = torch.randn(1, 16, *size, requires_grad=True)
    with FlopCounterMode(display=False) as flops, Largest() as largest:
        layer(x).sum().backward()
    return flops.get_total_flops(), largest.numel


def test_operations_and_memory_grow_linearly():
    """Counted, not timed, forward and backward: four times the positions cost four times as much, in BoT sixteen."""
    small, large = (flops_and_largest(LinearBoTAttention(16), size) for size in ((16, 16), (32, 32)))
    assert large[0] == 4 * small[0]
    assert large[1] == 4 * small[1] == 3 * 16 * 32 * 32  # q, k and v together
    small, large = (flops_and_largest(BoTAttention(16), size) for size in ((16, 16), (32, 32)))
    assert large[0] > 12 * small[0]
    assert large[1] == 16 * small[1] == 4 * 1024 * 1024  # logits of four heads


def test_float16_holds_sums_over_a_large_map():
    """12,544 positions with phi near 11: their sum is beyond 65,504, the largest float16; kept as means it is not."""
    torch.manual_seed(0)
    layer = LinearBoTAttention(4, 1)
    layer.qkv.weight.data.fill_(1.)
    layer.scale.data.fill_(1.)
    x = 2.5 + 0.1 * torch.randn(1, 4, 112, 112)
    want = layer(x)
    out = layer.half()(x.half())
    assert (out.float() - want).abs().max() < 0.02 * want.abs().max()


@pytest.mark.parametrize('size', [1., 20., 160.])
def test_float16_holds_large_features(size):
    """512 channels behind stage 4: phi(q) . phi(k) is beyond the largest float16 from features of a few dozens on."""
    torch.manual_seed(0)
    layer = LinearBoTAttention(512)
    layer.scale.data.fill_(1.)
    x = size * torch.randn(1, 512, 7, 7).relu()
    state = {key: value.double().numpy() for key, value in layer.state_dict().items()}
    want = torch.from_numpy(reference(x.double().numpy(), state, 4))
    with torch.no_grad():
        assert (layer(x) - want).abs().max() < 1e-6 * want.abs().max()
        assert (layer.half()(x.half()) - want).abs().max() < 2e-3 * want.abs().max()


def test_float16_holds_sums_over_channels():
    """All phi(q) and phi(k) alike and v = 1000 in 256 channels of a head: o = v, not the infinity of 256 v."""
    layer = LinearBoTAttention(256, 1).half()
    layer.qkv.weight.data.zero_()
    q, v = torch.full((1, 1, 256, 4), 3.).half(), torch.full((1, 1, 256, 4), 1000.).half()
    torch.testing.assert_close(layer.attend(q, q, v, 2, 2), v, rtol=2e-3, atol=0)
