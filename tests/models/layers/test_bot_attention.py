"""BoT attention against numpy with an explicit softmax over pairs of positions."""
import numpy as np
import pytest
import torch

from cxrdet.models.layers.bot_attention import BoTAttention
from cxrdet.models.layers.linear_bot_attention import LinearBoTAttention


def reference(x, state, heads, reach):
    """Position by position, in float64: sum_b softmax_b(q_a . (k_b + h[di] + w[dj]) / sqrt(d)) v_b."""
    n, c, height, width = x.shape
    qkv, project = state['qkv.weight'][:, :, 0, 0], state['project.weight'][:, :, 0, 0]
    mid = len(qkv) // 3
    d = mid // heads
    places = [(i, j) for i in range(height) for j in range(width)]
    out = np.empty_like(x)
    for b in range(n):
        for i, j in places:
            parts = []
            for head in range(heads):
                rows = slice(head * d, (head + 1) * d)
                q = qkv[:mid][rows] @ x[b, :, i, j]
                logits, values = [], []
                for i2, j2 in places:
                    k = qkv[mid:2 * mid][rows] @ x[b, :, i2, j2]
                    r = (state['row_offsets'][max(-reach, min(reach, i2 - i)) + reach]
                         + state['column_offsets'][max(-reach, min(reach, j2 - j)) + reach])
                    logits.append(q @ (k + r) / np.sqrt(d))
                    values.append(qkv[2 * mid:][rows] @ x[b, :, i2, j2])
                weight = np.exp(np.array(logits) - max(logits))
                parts.append((weight / weight.sum()) @ np.array(values))
            out[b, :, i, j] = x[b, :, i, j] + state['scale'] * (project @ np.concatenate(parts))
    return out


def layer_of(channels, heads=4, **kwargs):
    torch.manual_seed(0)
    layer = BoTAttention(channels, heads, **kwargs).double()
    layer.scale.data.normal_()
    return layer


@pytest.mark.parametrize(('channels', 'heads', 'kwargs', 'size'), [
    (8, 4, {}, (4, 3)), (6, 2, {'mid_channels': 4, 'max_distance': 1}, (5, 3)), (5, 1, {'max_distance': 0}, (1, 6)),
    (4, 4, {'mid_channels': 16, 'max_distance': 2}, (7, 1)), (3, 3, {}, (1, 1)),
])
def test_equals_the_equation(channels, heads, kwargs, size):
    layer = layer_of(channels, heads, **kwargs)
    x = torch.randn(2, channels, *size, dtype=torch.float64)
    state = {key: value.numpy() for key, value in layer.state_dict().items()}
    want = reference(x.numpy(), state, heads, layer.max_distance)
    for _ in range(2):  # with and without gradients torch may choose different kernels
        np.testing.assert_allclose(layer(x).detach().numpy(), want, rtol=1e-9, atol=1e-12)
        layer.requires_grad_(False)


def test_by_hand():
    # one channel, q = k = v = x = (1, 2), P = 1, scale 2; w[+1] = -1 makes the logits of position 0 (1, 1), w[-1] = 1
    # those of position 1 (4, 4): both attend evenly, o = 1.5
    layer = BoTAttention(1, 1, max_distance=1).double()
    for parameter, value in ((layer.qkv.weight, 1.), (layer.project.weight, 1.), (layer.scale, 2.),
                             (layer.row_offsets, 0.)):
        parameter.data.fill_(value)
    layer.column_offsets.data.copy_(torch.tensor([[1.], [0.], [-1.]]))
    x = torch.tensor([[[[1., 2.]]]], dtype=torch.float64)
    np.testing.assert_allclose(layer(x).detach().numpy().ravel(), [4., 5.], rtol=1e-12)


@pytest.mark.parametrize(('channels', 'kwargs', 'expected'), [
    (512, {}, 4 * 512 * 512 + 512 + 2 * 33 * 128),  # 1,057,536
    (1024, {'mid_channels': 256, 'max_distance': 6}, 4 * 1024 * 256 + 1024 + 2 * 13 * 64),
])
def test_parameter_count(channels, kwargs, expected):
    assert sum(p.numel() for p in BoTAttention(channels, **kwargs).parameters()) == expected


@pytest.mark.parametrize('kind', [BoTAttention, LinearBoTAttention])
def test_starts_as_the_identity_and_learns_from_there(kind):
    torch.manual_seed(0)
    layer, x = kind(8), torch.randn(2, 8, 3, 4)
    torch.testing.assert_close(layer(x), x, rtol=0, atol=0)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    target = torch.randn_like(x)
    for _ in range(2):
        optimizer.zero_grad()
        (layer(x) - target).square().sum().backward()
        optimizer.step()
    assert all(parameter.grad.abs().sum() > 0 for parameter in layer.parameters())


def test_positions_count_through_the_tables_alone():
    layer, x = layer_of(8), torch.randn(2, 8, 4, 5, dtype=torch.float64)
    order = torch.randperm(20)
    shuffled = x.flatten(2)[..., order].view_as(x)
    assert not torch.allclose(layer(shuffled), layer(x).flatten(2)[..., order].view_as(x), atol=1e-3)
    layer.row_offsets.data.zero_()
    layer.column_offsets.data.zero_()
    torch.testing.assert_close(layer(shuffled), layer(x).flatten(2)[..., order].view_as(x))


def test_flipped_map_with_flipped_tables():
    layer, x = layer_of(8, max_distance=2), torch.randn(2, 8, 5, 4, dtype=torch.float64)
    want = layer(x)
    layer.row_offsets.data = layer.row_offsets.data.flip(0)
    torch.testing.assert_close(layer(x.flip(2)).flip(2), want)
    layer.row_offsets.data = layer.row_offsets.data.flip(0)
    layer.column_offsets.data = layer.column_offsets.data.flip(0)
    torch.testing.assert_close(layer(x.flip(3)).flip(3), want)


def test_heads_do_not_mix_before_the_projection():
    """Swapping the heads in Q, K, V and P changes nothing: all heads share the tables."""
    layer, x = layer_of(8, 2), torch.randn(1, 8, 3, 3, dtype=torch.float64)
    want = layer(x)
    weight = layer.qkv.weight.data.view(3, 2, 4, 8)
    layer.qkv.weight.data = weight.flip(1).reshape(24, 8, 1, 1)
    layer.project.weight.data = layer.project.weight.data.view(8, 2, 4).flip(1).reshape(8, 8, 1, 1)
    torch.testing.assert_close(layer(x), want)


def test_gradient():
    layer = layer_of(4, 2, max_distance=1)
    x = torch.randn(1, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    names, values = zip(*layer.named_parameters())
    assert torch.autograd.gradcheck(
        lambda x, *values: torch.func.functional_call(layer, dict(zip(names, values)), (x,)), (x, *values))


@pytest.mark.parametrize(('kind', 'args', 'kwargs', 'message'), [
    (BoTAttention, (0,), {}, r'BoTAttention: in_channels must lie in \[1, .* got 0'),
    (LinearBoTAttention, (8, 0), {}, r'LinearBoTAttention: num_heads must lie in \[1, .* got 0'),
    (BoTAttention, (8, 3), {}, 'num_heads must divide the 8 channels of the attention, got 3'),
    (LinearBoTAttention, (8, 4), {'mid_channels': 6}, 'num_heads must divide the 6 channels of the attention, got 4'),
    (BoTAttention, (8,), {'max_distance': -1}, r'max_distance must lie in \[0, .* got -1'),
])
def test_bad_arguments(kind, args, kwargs, message):
    with pytest.raises(ValueError, match=message):
        kind(*args, **kwargs)
