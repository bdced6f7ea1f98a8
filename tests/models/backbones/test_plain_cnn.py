import pytest
import torch

from cxrdet.core.errors import ConfigError
from cxrdet.registry import MODELS


def build(**kwargs):
    return MODELS.build(dict(type='cxrdet.PlainCNN', **kwargs))


def test_shapes_and_parameters():
    """224, 222, 111, 109, 54; kernels by hand."""
    net = build()
    with torch.no_grad():
        (last,) = net(torch.zeros(2, 3, 224, 224))
        first, second = build(out_indices=(0, 1))(torch.zeros(1, 3, 64, 96))
    assert last.shape == (2, 64, 54, 54)
    assert first.shape == (1, 32, 31, 47) and second.shape == (1, 64, 14, 22)
    assert sum(value.numel() for value in net.parameters()) == (3 * 9 * 32 + 32) + (32 * 9 * 64 + 64)


def test_stage_is_convolution_relu_maximum():
    net = build(channels=(16,), in_channels=1)
    net.init_weights()
    image = torch.randn(1, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    conv = net.stages[0][0]
    map_ = torch.nn.functional.conv2d(image, conv.weight, conv.bias).clamp(min=0)  # (1, 16, 4, 4)
    by_hand = map_.reshape(1, 16, 2, 2, 2, 2).amax((3, 5))
    torch.testing.assert_close(net(image)[0], by_hand)


def test_frozen_stages():
    net = build(frozen_stages=1)
    assert [value.requires_grad for value in net.parameters()] == [False, False, True, True]


def test_norm_stands_behind_the_convolution_and_freezes_with_its_stage():
    net = build(norm_cfg=dict(type='BN'), frozen_stages=1).train()
    assert [type(part).__name__ for part in net.stages[0]] == ['Conv2d', 'BatchNorm2d', 'ReLU', 'MaxPool2d']
    assert net.stages[0][0].bias is None
    net(torch.ones(2, 3, 16, 16))
    assert [int(stage[1].num_batches_tracked) for stage in net.stages] == [0, 1]


@pytest.mark.parametrize('kwargs', [dict(out_indices=(2,)), dict(frozen_stages=3)])
def test_stages_that_are_not_there(kwargs):
    with pytest.raises(ConfigError, match='PlainCNN: 2 stages, but'):
        build(**kwargs)
