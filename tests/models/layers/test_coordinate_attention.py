"""Coordinate attention against numpy written from equations 4 to 9 of the paper."""
import numpy as np
import pytest
import torch

from cxrdet.models.layers.coordinate_attention import CoordinateAttention


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def hard_swish(x):
    return x * np.minimum(np.maximum(x + 3, 0), 6) / 6


def reference(x, state, train):
    """Row by row and column by column; batch norm over the rows and columns of the batch, or by running statistics."""
    n, _, h, w = x.shape
    f1, gamma, beta, mean, var = (state[f'reduce.{key}'] for key in (
        '0.weight', '1.weight', '1.bias', '1.running_mean', '1.running_var'))
    fh, bh, fw, bw = (state[key] for key in ('rows.weight', 'rows.bias', 'columns.weight', 'columns.bias'))
    pooled = [[x[b, :, i, :].mean(1) for i in range(h)] + [x[b, :, :, j].mean(1) for j in range(w)] for b in range(n)]
    hidden = np.array([[f1[:, :, 0, 0] @ z for z in image] for image in pooled])  # (N, H + W, hidden)
    if train:
        mean, var = hidden.mean((0, 1)), hidden.var((0, 1))
    hidden = hard_swish((hidden - mean) / np.sqrt(var + 1e-5) * gamma + beta)
    out = np.empty_like(x)
    for b in range(n):
        for i in range(h):
            for j in range(w):
                gate_h = sigmoid(fh[:, :, 0, 0] @ hidden[b, i] + bh)
                gate_w = sigmoid(fw[:, :, 0, 0] @ hidden[b, h + j] + bw)
                out[b, :, i, j] = x[b, :, i, j] * gate_h * gate_w
    return out


@pytest.mark.parametrize('train', [True, False])
@pytest.mark.parametrize(('channels', 'reduction', 'size'), [
    (16, 32, (9, 6)), (36, 4, (3, 5)), (3, 1, (1, 1)), (10, 1, (1, 7)), (16, 2, (4, 1)),
])
def test_equals_the_equations(channels, reduction, size, train):
    torch.manual_seed(0)
    layer = CoordinateAttention(channels, reduction).double().train(train)
    norm = layer.reduce[1]
    for tensor, low in ((norm.weight, .5), (norm.bias, -1), (norm.running_mean, -.2), (norm.running_var, .5)):
        tensor.data.uniform_(low, 1)
    x = torch.randn(2, channels, *size, dtype=torch.float64)
    state = {key: value.clone().numpy() for key, value in layer.state_dict().items()}
    want = reference(x.numpy(), state, train)
    np.testing.assert_allclose(layer(x).detach().numpy(), want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(('channels', 'reduction', 'hidden'), [
    (512, 32, 16), (256, 32, 8), (64, 32, 8), (2048, 32, 64), (64, 4, 16), (3, 32, 8),
])
def test_parameter_count(channels, reduction, hidden):
    # F1 without bias, norm, Fh and Fw with bias; 512: 8,192 + 32 + 2 * 8,704 = 25,632
    layer = CoordinateAttention(channels, reduction)
    want = channels * hidden + 2 * hidden + 2 * (hidden * channels + channels)
    assert sum(p.numel() for p in layer.parameters()) == want


def test_reduction_is_32_by_default():
    assert CoordinateAttention(512).reduce[0].weight.shape == (16, 512, 1, 1)


def test_rows_and_columns_may_be_permuted():
    """A gate belongs to its row or column, whatever the order of these; positions of the whole map may not be mixed."""
    torch.manual_seed(0)
    layer, x = CoordinateAttention(16, 1).eval(), torch.randn(2, 16, 5, 6)
    rows, columns = torch.randperm(5), torch.randperm(6)
    mixed = x[:, :, rows][..., columns]
    torch.testing.assert_close(layer(mixed), layer(x)[:, :, rows][..., columns])
    order = torch.randperm(30)
    shuffled = x.flatten(2)[..., order].view_as(x)
    assert not torch.allclose(layer(shuffled), layer(x).flatten(2)[..., order].view_as(x), atol=1e-3)


def test_transposed_map_with_transposed_gates():
    torch.manual_seed(0)
    layer, x = CoordinateAttention(8, 1).eval(), torch.randn(2, 8, 5, 3)
    want = layer(x)
    layer.rows, layer.columns = layer.columns, layer.rows
    torch.testing.assert_close(layer(x.transpose(2, 3)).transpose(2, 3), want)


def test_gradient():
    torch.manual_seed(0)
    layer = CoordinateAttention(3, 1).double()
    x = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    names, values = zip(*layer.named_parameters())

    def run(x, *values):
        return torch.func.functional_call(layer.eval(), dict(zip(names, values)), (x,))

    assert torch.autograd.gradcheck(run, (x, *values))
    layer.train()(x).square().sum().backward()
    assert all(value.grad.abs().sum() > 0 for value in values)


@pytest.mark.parametrize(('args', 'message'), [
    ((0,), r'in_channels must lie in \[1, .* got 0'),
    ((8, 0), r'reduction must lie in \[1, .* got 0'),
])
def test_bad_arguments(args, message):
    with pytest.raises(ValueError, match=message):
        CoordinateAttention(*args)
