"""The attention layers as they are used: in half precision, in channels_last, exported, and in MMDetection's ResNet."""
import pytest
import torch
from mmengine.registry import init_default_scope
from torch import nn

from cxrdet.models.layers import ECA, BoTAttention, CoordinateAttention, LinearBoTAttention
from cxrdet.registry import MODELS

LAYERS = [ECA, CoordinateAttention, BoTAttention, LinearBoTAttention]
pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::torch.jit.TracerWarning')


def make(kind, channels=16):
    """With a scale of 1 where there is one: an identity would pass any test."""
    torch.manual_seed(0)
    layer = kind(channels).eval()
    if hasattr(layer, 'scale'):
        layer.scale.data.fill_(1.)
    return layer


@pytest.mark.parametrize('mode', ['autocast', 'bfloat16', 'float16'])
@pytest.mark.parametrize('kind', LAYERS)
def test_half_precision_and_channels_last(kind, mode):
    layer, x = make(kind), torch.randn(2, 16, 21, 13).to(memory_format=torch.channels_last)
    want = layer(x)
    dtype = getattr(torch, 'bfloat16' if mode == 'autocast' else mode)
    if mode == 'autocast':
        with torch.autocast('cpu', torch.bfloat16):
            out = layer(x.to(dtype))
    else:
        out = layer.to(dtype)(x.to(dtype))
    assert out.dtype == dtype
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert (out.float() - want).abs().max() < 0.02 * want.abs().max()


@pytest.mark.parametrize('kind', LAYERS)
def test_autocast_training_gives_float32_gradients(kind):
    layer = make(kind).train().to(memory_format=torch.channels_last)
    x = torch.randn(2, 16, 6, 5).to(memory_format=torch.channels_last).requires_grad_()
    layer(x).square().mean().backward()
    want = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.zero_grad()
    with torch.autocast('cpu', torch.bfloat16):
        layer(x).float().square().mean().backward()
    for (name, parameter), exact in zip(layer.named_parameters(), want):
        assert parameter.grad.dtype == torch.float32
        assert (parameter.grad - exact).norm() < 0.1 * exact.norm(), name


@pytest.mark.parametrize('size', [(1, 1), (1, 9), (7, 1), (2, 2), (3, 3), (40, 3)])
@pytest.mark.parametrize('kind', LAYERS)
def test_any_size(kind, size):
    out = make(kind)(torch.randn(2, 16, *size))
    assert out.shape == (2, 16, *size)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize('kind', LAYERS)
def test_empty_batch(kind):
    assert make(kind)(torch.zeros(0, 16, 5, 4)).shape == (0, 16, 5, 4)


@pytest.mark.parametrize('kind', LAYERS)
def test_images_of_a_batch_do_not_meet(kind):
    layer, x = make(kind), torch.randn(3, 16, 5, 4)
    torch.testing.assert_close(layer(x)[1:2], layer(x[1:2]))


# ---------------------------------------------------------------- export
@pytest.mark.parametrize('kind', LAYERS)
def test_traced_layer_takes_other_sizes(kind):
    layer = make(kind)
    traced = torch.jit.trace(layer, (torch.randn(2, 16, 5, 7),), check_trace=False)
    for size in ((2, 16, 5, 7), (3, 16, 9, 4), (1, 16, 1, 1)):
        x = torch.randn(size)
        torch.testing.assert_close(traced(x), layer(x))


@pytest.mark.parametrize('kind', LAYERS)
def test_scripted_layer_gives_the_same(kind):
    layer, x = make(kind), torch.randn(2, 16, 5, 7)
    torch.testing.assert_close(torch.jit.script(layer)(x), layer(x))


@pytest.mark.long
@pytest.mark.parametrize('dynamo', [False, pytest.param(True, marks=pytest.mark.long)])
def test_onnx_runtime_gives_the_same_at_any_size(dynamo, tmp_path):
    import onnxruntime
    net = nn.Sequential(*(make(kind) for kind in LAYERS)).eval()
    path, axes = str(tmp_path / 'layers.onnx'), {0: 'n', 2: 'h', 3: 'w'}
    options = {'dynamic_shapes': (axes,), 'verbose': False} if dynamo else {
        'dynamic_axes': {'x': axes}, 'opset_version': 18}
    torch.onnx.export(net, (torch.randn(2, 16, 5, 7),), path, input_names=['x'], dynamo=dynamo, **options)
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    for size in ((2, 16, 5, 7), (1, 16, 9, 4), (3, 16, 30, 20)):
        x = torch.randn(size)
        out, = session.run(None, {'x': x.numpy()})
        torch.testing.assert_close(torch.from_numpy(out), net(x), rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- in configs
@pytest.mark.parametrize(('kind', 'name'), [
    (ECA, 'eca'), (CoordinateAttention, 'ca'), (BoTAttention, 'bot'), (LinearBoTAttention, 'bot_linear'),
])
def test_plugin_of_a_bottleneck_resnet(kind, name):
    from mmdet.registry import MODELS as MMDET
    init_default_scope('mmdet')
    plugin = {'cfg': {'type': f'cxrdet.{kind.__name__}'}, 'stages': (False, False, True, True),
              'position': 'after_conv3'}
    net = MMDET.build({'type': 'ResNet', 'depth': 50, 'base_channels': 4, 'plugins': [plugin]})
    net.eval()
    layers = {name: layer for name, layer in net.named_modules() if isinstance(layer, kind)}
    assert list(layers) == [f'layer{stage}.{i}.{name}' for stage, count in ((3, 6), (4, 3)) for i in range(count)]
    seen = []
    net.layer4[2].get_submodule(name).register_forward_hook(lambda _, args, out: seen.append(args[0].shape))
    assert [out.shape[1] for out in net(torch.randn(1, 3, 64, 48))] == [16, 32, 64, 128]
    assert seen == [(1, 128, 2, 2)]


@pytest.mark.parametrize('kind', LAYERS)
def test_built_by_name(kind):
    init_default_scope('mmpretrain')
    assert isinstance(MODELS.build({'type': f'cxrdet.{kind.__name__}', 'in_channels': 8}), kind)
