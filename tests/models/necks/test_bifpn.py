"""BiFPN node by node against a slow reference, written here from the paper's equations in numpy, float64."""
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

from cxrdet.models.necks.bifpn import BiFPN, BiFPNLayer, FusionNode, resize_to

BN = {'type': 'BN', 'momentum': 0.01, 'eps': 1e-3}
SIZES_317x243 = [(80, 61), (40, 31), (20, 16), (10, 8)]  # strides 4, 8, 16, 32, each rounded up


# ---------------------------------------------------------------- the slow reference
def conv(x, weight, bias=None, groups=1):
    """Convolution of stride 1 with 'same' zero padding, tap by tap."""
    out_channels, _, kh, kw = weight.shape
    (n, _, h, w), per = x.shape, x.shape[1] // groups
    padded = np.pad(x, ((0, 0), (0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2)))
    out = np.zeros((n, out_channels, h, w))
    for o in range(out_channels):
        first = o // (out_channels // groups) * per
        for i in range(per):
            for dy in range(kh):
                for dx in range(kw):
                    out[:, o] += weight[o, i, dy, dx] * padded[:, first + i, dy:dy + h, dx:dx + w]
    return out if bias is None else out + bias[None, :, None, None]


def upsample(x, size):
    rows = [int(np.floor(i * x.shape[2] / size[0])) for i in range(size[0])]
    columns = [int(np.floor(i * x.shape[3] / size[1])) for i in range(size[1])]
    return x[:, :, rows][:, :, :, columns]


def downsample(x):
    """The largest of rows 2i-1, 2i, 2i+1 and columns alike, for i = 0 .. ceil(n / 2) - 1."""
    n, c, h, w = x.shape
    out = np.empty((n, c, -(-h // 2), -(-w // 2)))
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            window = x[:, :, max(2 * i - 1, 0):2 * i + 2, max(2 * j - 1, 0):2 * j + 2]
            out[:, :, i, j] = window.max(axis=(2, 3))
    return out


class Reference:
    """The pyramid of section 3, reading the weights by name; ``nodes`` keeps the output of each node."""

    def __init__(self, net: BiFPN, *, separable: bool, fusion: str) -> None:
        self.state = {key: value.double().numpy() for key, value in net.state_dict().items()}
        self.net, self.separable, self.fusion, self.nodes = net, separable, fusion, {}

    def norm(self, x, name):
        if f'{name}.running_mean' not in self.state:
            return x
        parts = ('running_mean', 'running_var', 'weight', 'bias')
        mean, var, gamma, beta = (self.state[f'{name}.{part}'][None, :, None, None] for part in parts)
        return (x - mean) / np.sqrt(var + 1e-3) * gamma + beta

    def conv_norm(self, x, name, groups=1):
        return self.norm(conv(x, self.state[f'{name}.conv.weight'], self.state.get(f'{name}.conv.bias'), groups),
                         f'{name}.bn')

    def node(self, name, *maps):
        v = self.state.get(f'{name}.fusion_weight', np.ones(len(maps)))
        if self.fusion == 'fast' and len(maps) > 1:
            w = np.maximum(v, 0)
            w = w / (1e-4 + w.sum())
        elif self.fusion == 'softmax':
            w = np.exp(v) / np.exp(v).sum()
        else:
            w = np.ones(len(maps))
        x = sum(w_i * x_i for w_i, x_i in zip(w, maps, strict=True))
        x = x / (1 + np.exp(-x))
        if self.separable:
            x = self.conv_norm(self.conv_norm(x, f'{name}.conv.0', groups=x.shape[1]), f'{name}.conv.1')
        else:
            x = self.conv_norm(x, f'{name}.conv')
        self.nodes[name] = x
        return x

    def layer(self, name, p_in):
        top = len(p_in) - 1
        if top == 0:
            return [self.node(f'{name}.outputs.0', p_in[0])]
        td, out = {top: p_in[top]}, {}
        for level in range(top - 1, 0, -1):
            td[level] = self.node(f'{name}.top_down.{level - 1}', p_in[level],
                                  upsample(td[level + 1], p_in[level].shape[2:]))
        out[0] = self.node(f'{name}.outputs.0', p_in[0], upsample(td[1], p_in[0].shape[2:]))
        for level in range(1, top):
            out[level] = self.node(f'{name}.outputs.{level}', p_in[level], td[level], downsample(out[level - 1]))
        out[top] = self.node(f'{name}.outputs.{top}', p_in[top], downsample(out[top - 1]))
        return [out[level] for level in range(top + 1)]

    def __call__(self, inputs):
        maps = [self.conv_norm(x, f'laterals.{i}') for i, x in enumerate(inputs)]
        if len(maps) < self.net.num_outs:
            maps.append(downsample(self.conv_norm(inputs[-1], f'laterals.{len(inputs)}')))
        while len(maps) < self.net.num_outs:
            maps.append(downsample(maps[-1]))
        for i in range(len(self.net.layers)):
            maps = self.layer(f'layers.{i}', maps)
        return maps


def random_state(net: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Every parameter and statistic at random; the first fusion weight of each three below zero."""
    rng = np.random.default_rng(seed)
    for name, value in net.state_dict().items():
        if value.dtype.is_floating_point:
            low, high = (0.5, 2) if 'running_var' in name or 'fusion_weight' in name else (-1, 1)
            value.copy_(torch.from_numpy(rng.uniform(low, high, tuple(value.shape))))
            if 'fusion_weight' in name and len(value) == 3:
                value[0] = -0.7
    return net


def pyramid(channels, sizes, batch=2, dtype=torch.float64, seed=1):
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.normal(size=(batch, channel, *size))).to(dtype)
            for channel, size in zip(channels, sizes, strict=True)]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmdet')


# ---------------------------------------------------------------- against the reference
CASES = [
    # levels in, num_outs, num_layers, separable, fusion, norm
    (1, 1, 2, True, 'fast', BN),
    (2, 2, 2, True, 'fast', BN),
    (3, 3, 1, False, 'softmax', BN),
    (3, 5, 2, True, 'fast', BN),
    (4, 4, 1, True, 'sum', None),
    (4, 5, 3, True, 'fast', BN),
    (4, 6, 1, False, 'fast', None),
    (1, 6, 1, True, 'softmax', BN),
]


@pytest.mark.parametrize(('levels', 'num_outs', 'num_layers', 'separable', 'fusion', 'norm_cfg'), CASES)
def test_every_node_equals_the_equations(levels, num_outs, num_layers, separable, fusion, norm_cfg):
    channels = [2, 3, 1, 4][:levels]
    net = BiFPN(channels, 3, num_outs=num_outs, num_layers=num_layers, separable=separable, fusion=fusion,
                norm_cfg=norm_cfg)
    net = random_state(net.double()).eval()
    seen = {}
    for name, module in net.named_modules():
        if isinstance(module, FusionNode):
            module.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, out.numpy()))
    inputs = pyramid(channels, SIZES_317x243[:levels])
    reference = Reference(net, separable=separable, fusion=fusion)
    expected = reference([x.numpy() for x in inputs])
    with torch.no_grad():
        got = net(inputs)
    assert len(seen) == num_layers * max(2 * (num_outs - 1), 1)
    assert seen.keys() == reference.nodes.keys()
    for name, node in reference.nodes.items():
        np.testing.assert_allclose(seen[name], node, rtol=1e-9, atol=1e-9, err_msg=name)
    for out, want in zip(got, expected, strict=True):
        np.testing.assert_allclose(out.numpy(), want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(('fusion', 'vector', 'expected'), [
    ('fast', [1., 1.], [1 / 2.0001, 1 / 2.0001]),
    ('fast', [3., -5., 1.], [3 / 4.0001, 0., 1 / 4.0001]),
    ('fast', [-1., -2.], [0., 0.]),
    ('softmax', [np.log(3.), 0.], [0.75, 0.25]),
])
def test_normalised_weight_by_hand(fusion, vector, expected):
    node = FusionNode(4, len(vector), separable=True, fusion=fusion, norm_cfg=BN).double()
    node.fusion_weight.data.copy_(torch.tensor(vector))
    np.testing.assert_allclose(node.normalised_weight().detach().numpy(), expected, rtol=1e-6)


def test_batch_norm_of_the_authors():
    """eps 1e-3; running statistics keep 0.99 of themselves: of a mean 5, 0.05 is taken over in the first step."""
    net = BiFPN([2, 3, 4], 4, num_outs=5, num_layers=1)
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(norms) == 4 + 8 and {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}
    norms[0].train()(torch.full((2, 4, 3, 3), 5.0))
    torch.testing.assert_close(norms[0].running_mean, torch.full((4,), 0.05))
    earlier = BiFPN([2], 4, num_outs=1, norm_cfg={'type': 'BN'}).laterals[0].bn
    assert (earlier.eps, earlier.momentum) == (1e-5, 0.1)


def test_each_node_has_its_own_weight_vector():
    net = BiFPN([2, 3, 4], 4, num_outs=5, num_layers=3)
    vectors = {name: tuple(p.shape) for name, p in net.named_parameters() if name.endswith('fusion_weight')}
    assert len(vectors) == 3 * 8
    assert len({p.data_ptr() for name, p in net.named_parameters() if name in vectors}) == 24
    for layer in range(3):
        of_layer = {name[len('layers.0.'):-len('.fusion_weight')]: shape for name, shape in vectors.items()
                    if name.startswith(f'layers.{layer}.')}
        assert of_layer == {
            'top_down.0': (2,), 'top_down.1': (2,), 'top_down.2': (2,), 'outputs.0': (2,), 'outputs.1': (3,),
            'outputs.2': (3,), 'outputs.3': (3,), 'outputs.4': (2,)}
    assert len(net.laterals) == 4
    assert len({lateral.conv.weight.data_ptr() for lateral in net.laterals}) == 4


# ---------------------------------------------------------------- parameters
def count_by_hand(channels, width, num_outs, num_layers, separable, fusion):
    """n outputs, L inputs, C wide, batch norm (2C) behind each 1x1 and 3x3 convolution, which then have no bias.

    laterals: sum_l (c_l C + 2C), and once more c_L C + 2C if n > L
    a node:   separable 9C + C^2 + 2C, plain 9C^2 + 2C; a layer has 2 (n - 1) of them, 1 if n = 1
    weights:  n - 2 intermediate nodes of 2, n - 2 outputs of 3, 2 outputs of 2: 5n - 6 a layer, none if n = 1
    """
    laterals = channels + channels[-1:] * (num_outs > len(channels))
    total = sum(c * width + 2 * width for c in laterals)
    node = (9 * width + width**2 if separable else 9 * width**2) + 2 * width
    total += num_layers * max(2 * (num_outs - 1), 1) * node
    return total + (num_layers * (5 * num_outs - 6) if num_outs > 1 and fusion != 'sum' else 0)


@pytest.mark.parametrize('separable', [True, False])
@pytest.mark.parametrize('fusion', ['fast', 'sum'])
@pytest.mark.parametrize(('levels', 'num_outs', 'num_layers'), [
    (1, 1, 1), (2, 2, 3), (3, 5, 2), (4, 4, 1), (4, 6, 3), (6, 6, 1)])
def test_parameter_count(levels, num_outs, num_layers, separable, fusion):
    channels = [4, 8, 12, 16, 20, 24][:levels]
    net = BiFPN(channels, 10, num_outs=num_outs, num_layers=num_layers, separable=separable, fusion=fusion)
    expected = count_by_hand(channels, 10, num_outs, num_layers, separable, fusion)
    assert sum(p.numel() for p in net.parameters()) == expected


def test_parameter_count_of_the_usual_pyramid():
    # laterals 256 * 3840 + 4 * 512 = 985,088; extra 2048 * 256 + 512 = 524,800;
    # 3 layers of 8 nodes of 9 * 256 + 256^2 + 512 = 68,352: 1,640,448; weights 3 * (3*2 + 3*3 + 2*2) = 57
    net = BiFPN([256, 512, 1024, 2048], 256, num_outs=5, num_layers=3)
    assert sum(p.numel() for p in net.parameters()) == 985_088 + 524_800 + 1_640_448 + 57


@pytest.mark.parametrize(('levels', 'num_outs'), [(1, 1), (1, 3), (2, 2), (3, 5), (6, 6)])
@pytest.mark.parametrize(('separable', 'fusion'), [(True, 'fast'), (False, 'softmax')])
def test_gradient_reaches_every_parameter_and_input(levels, num_outs, separable, fusion):
    torch.manual_seed(0)
    channels = [3, 4, 5, 6, 7, 8][:levels]
    net = BiFPN(channels, 8, num_outs=num_outs, num_layers=2, separable=separable, fusion=fusion,
                attention={'type': 'cxrdet.CBAM', 'ratio': 2}).train()
    sizes = [(33 // 2**i + 1, 25 // 2**i + 1) for i in range(levels)]
    inputs = [x.requires_grad_() for x in pyramid(channels, sizes, dtype=torch.float32)]
    sum((out * torch.randn_like(out)).sum() for out in net(inputs)).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name
    assert all(x.grad.abs().sum() > 0 for x in inputs)


def test_gradient_of_a_node_by_finite_differences():
    torch.manual_seed(0)
    node = FusionNode(2, 3, separable=True, fusion='fast', norm_cfg=None).double()
    maps = [torch.randn(1, 2, *size, dtype=torch.float64, requires_grad=True) for size in [(3, 4), (2, 2), (5, 8)]]
    parameters = dict(node.named_parameters())

    def run(*tensors):
        return torch.func.functional_call(node, dict(zip(parameters, tensors[3:], strict=True)), tensors[:3])

    assert torch.autograd.gradcheck(run, (*maps, *parameters.values()))


# ---------------------------------------------------------------- sizes
@pytest.mark.parametrize(('source', 'size', 'expected'), [
    ([[1., 2.], [3., 4.]], (3, 3), [[1, 1, 2], [1, 1, 2], [3, 3, 4]]),
    ([[1., 5., 2.], [0., 9., 3.], [7., 4., 6.]], (2, 2), [[9, 9], [9, 9]]),  # halve: the pooling overlaps
    ([[1., 5., 2.], [0., 1., 3.], [7., 4., 6.]], (1, 1), [[7]]),  # not a half: adaptive
    ([[8., 2.]], (1, 2), [[8, 2]]),
])
def test_resize_by_hand(source, size, expected):
    assert resize_to(torch.tensor([[source]]), size).tolist() == [[expected]]


@pytest.mark.parametrize('sizes', [
    SIZES_317x243,
    [(79, 60), (39, 30), (19, 15), (9, 7)],  # rounded down, as poolings without padding do
    [(24, 24), (24, 24), (12, 12), (12, 12)],  # dilated stages
    [(1, 3), (1, 2), (1, 1), (1, 1)],
])
def test_each_level_keeps_its_size(sizes):
    net = BiFPN([2, 2, 2, 2], 4, num_outs=6, num_layers=2).eval()
    outs = net(pyramid([2] * 4, sizes, dtype=torch.float32))
    height, width = sizes[-1]
    extra = [(-(-height // 2), -(-width // 2)), (-(-height // 4), -(-width // 4))]
    assert [tuple(out.shape) for out in outs] == [(2, 4, *size) for size in [*sizes, *extra]]


def test_empty_batch():
    net = BiFPN([2, 2], 4, num_outs=3).eval()
    assert [tuple(out.shape) for out in net(pyramid([2, 2], [(8, 6), (4, 3)], batch=0, dtype=torch.float32))] == [
        (0, 4, 8, 6), (0, 4, 4, 3), (0, 4, 2, 2)]


def test_start_level_leaves_out_the_finer_inputs():
    net = random_state(BiFPN([2, 3, 4], 4, num_outs=4, start_level=1)).eval()
    twin = BiFPN([3, 4], 4, num_outs=4).eval()
    twin.load_state_dict(net.state_dict())
    inputs = pyramid([2, 3, 4], SIZES_317x243[:3], dtype=torch.float32)
    for out, want in zip(net(inputs), twin(inputs[1:]), strict=True):
        torch.testing.assert_close(out, want)


def test_p3_to_p7_of_efficientdet():
    """The stride-4 map is left out; P6 is a 3x3 max pooling, stride 2, of norm(conv1x1(C5)), P7 one of P6."""
    net = random_state(BiFPN([2, 3, 4, 5], 6, num_outs=5, start_level=1).double()).eval()
    seen = []
    net.layers[0].register_forward_pre_hook(lambda _, args: seen.extend(args[0]))
    inputs = pyramid([2, 3, 4, 5], [(32, 48), (16, 24), (8, 12), (4, 6)])
    with torch.no_grad():
        outs = net(inputs)
        p6 = torch.nn.functional.conv2d(inputs[3], net.laterals[3].conv.weight)
        norm = net.laterals[3].bn
        p6 = (p6 - norm.running_mean[:, None, None]) / (norm.running_var + 1e-3).sqrt()[:, None, None]
        p6 = torch.nn.functional.max_pool2d(
            p6 * norm.weight[:, None, None] + norm.bias[:, None, None], 3, stride=2, padding=1)
        p7 = torch.nn.functional.max_pool2d(p6, 3, stride=2, padding=1)
    assert [tuple(out.shape[2:]) for out in outs] == [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
    assert len(net.laterals) == 4 and len(seen) == 5
    torch.testing.assert_close(seen[3], p6)
    torch.testing.assert_close(seen[4], p7)


# ---------------------------------------------------------------- errors
@pytest.mark.parametrize(('kwargs', 'message'), [
    ({'num_outs': 1}, r'num_outs must be at least 2, .* inputs used \(in_channels=\[2, 3\], start_level=0\), got 1'),
    ({'num_outs': 2, 'start_level': 2}, r'start_level must lie in 0 \.\. 1 for in_channels=\[2, 3\], got 2'),
    ({'num_outs': 2, 'num_layers': 0}, r'num_layers must lie in \[1, .* got 0'),
    ({'num_outs': 2, 'fusion': 'fats'}, 'fusion must be one of .*, got "fats".*Did you mean "fast"'),
    ({'num_outs': 3, 'attention': [None]}, 'one entry .* for each of the 3 outputs, got 1'),
])
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        BiFPN([2, 3], 4, **kwargs)


@pytest.mark.parametrize('channels', [[2], [2, 4], [2, 3, 4], []])
def test_inputs_that_do_not_fit(channels):
    inputs = pyramid(channels, SIZES_317x243[:len(channels)], dtype=torch.float32)
    with pytest.raises(ValueError, match=r'2 maps with \[2, 3\] channels, got \d with \[.*in_channels'):
        BiFPN([2, 3], 4, num_outs=2)(inputs)


def test_no_input_level():
    with pytest.raises(ValueError, match='in_channels must list at least one level'):
        BiFPN([], 4, num_outs=2)


def test_layer_with_one_level_has_one_node():
    layer = BiFPNLayer(4, 1, separable=True, fusion='fast', norm_cfg=BN)
    assert len(layer.top_down) == 0
    assert len(layer.outputs) == 1
    assert layer.outputs[0].fusion_weight is None
