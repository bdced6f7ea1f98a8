"""Grad-CAM against the classic CAM and sums by hand, and the layers that are chosen in the hosts' backbones."""
import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from cxrdet.core.errors import ConfigError
from cxrdet.inference.cam import GradCam, default_layer


def build(backbone, channels, *, pool=True, frozen=False):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(dict(
            type='ImageClassifier', backbone=backbone, neck=dict(type='GlobalAveragePooling') if pool else None,
            head=dict(type='MultiLabelLinearClsHead', num_classes=4, in_channels=channels)))
    for parameter in model.parameters():
        parameter.requires_grad_(not frozen)
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.1)
    return model.eval()


RESNET = dict(type='ResNet', depth=18, base_channels=16, stem_channels=16, style='pytorch')
VIT = dict(type='VisionTransformer', arch=dict(embed_dims=32, num_layers=3, num_heads=2, feedforward_channels=64),
           img_size=64, patch_size=16)
CASES = {
    'resnet': (RESNET, 128, True, 'backbone.layer4'),
    'densenet': (dict(type='DenseNet', arch=dict(growth_rate=16, depths=(2, 2, 2), init_channels=16)), 48, True, None),
    'efficientnet': (dict(type='EfficientNet', arch='b0'), 1280, True, 'backbone.layers.6'),
    'convnext': (dict(type='ConvNeXt', arch=dict(depths=[1, 1, 1, 1], channels=[16, 16, 32, 32])), 32, False,
                 'backbone.stages.3'),
    'swin': (dict(type='SwinTransformer', arch=dict(embed_dims=16, depths=[1, 1, 2, 1], num_heads=[1, 1, 2, 2]),
                  img_size=64, window_size=2), 128, True, 'backbone.norm3'),
    'vit with class token': (VIT, 32, False, 'backbone.layers.2.ln1'),
    'vit without': (dict(VIT, with_cls_token=False, out_type='avg_featmap'), 32, False, 'backbone.ln1'),
}


@pytest.mark.parametrize('name', CASES)
def test_layers_and_maps(name):
    backbone, channels, pool, layer = CASES[name]
    if name == 'densenet':
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            channels = MODELS.build(backbone)(torch.zeros(2, 3, 64, 64))[-1].shape[1]
    model = build(backbone, channels, pool=pool, frozen=True)
    inputs = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    chosen = default_layer(model, inputs)
    assert chosen.startswith('backbone.transitions') if layer is None else chosen == layer
    with torch.no_grad():
        maps = GradCam(model)(inputs, [0, 1, 2, 3])
    assert maps.shape == (4, 64, 64) and maps.dtype == np.float32 and 0 <= maps.min() and maps.max() <= 1
    assert sum(heat.max() > 0.99 and heat.std() > 0.05 for heat in maps) >= 2  # a class may have nothing for it
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize('shape', [(64, 64), (64, 96)])
def test_behind_pooling_and_one_linear_layer_it_is_the_classic_cam(shape):
    """B. Zhou et al., "Learning deep features for discriminative localization", CVPR 2016, equation 2."""
    model, inputs = build(RESNET, 128), torch.randn(1, 3, *shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        features = model.backbone(inputs)[-1][0]
        classic = torch.einsum('kc,chw->khw', model.head.fc.weight, features).clamp(min=0).numpy()
    maps = GradCam(model)(inputs, [0, 1, 2, 3])
    assert classic.shape[1:] == (shape[0] // 32, shape[1] // 32)
    for heat, expected in zip(maps, classic):
        expected = (expected - expected.min()) / max(expected.max() - expected.min(), 1e-7)
        expected = cv2.resize(expected, shape[::-1])
        np.testing.assert_allclose(heat, expected / max(expected.max(), 1e-7), atol=1e-4)
    assert (classic.max(axis=(1, 2)) > 0).sum() >= 2


def test_tokens_by_hand():
    """A transformer with a class token: weights are the mean gradients of the patch tokens, in rows and columns."""
    model, inputs = build(VIT, 32, pool=False), torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    kept = []
    handle = model.backbone.layers[2].ln1.register_forward_hook(
        lambda part, _, out: (out.retain_grad(), kept.append(out))[0])
    model(inputs, mode='tensor')[0, 1].backward()
    handle.remove()
    tokens, slopes = kept[0][0, 1:].detach(), kept[0].grad[0, 1:]
    expected = (tokens @ slopes.mean(dim=0)).clamp(min=0).reshape(4, 4).numpy()
    heat = GradCam(model)(inputs, [1])[0]
    expected = cv2.resize((expected - expected.min()) / (expected.max() - expected.min()), (64, 64))
    np.testing.assert_allclose(heat, expected / expected.max(), atol=1e-4)


def test_another_layer_and_no_class():
    model, inputs = build(RESNET, 128), torch.randn(1, 3, 64, 64)
    maps = GradCam(model, 'backbone.layer2')(inputs, [0, 1, 2, 3])
    assert maps.shape == (4, 64, 64) and maps.max() > 0.9
    assert np.abs(maps - GradCam(model)(inputs, [0, 1, 2, 3])).max() > 0.5
    assert GradCam(model)(inputs, []).shape == (0, 64, 64)


@pytest.mark.parametrize(('layer', 'text'), [
    ('backbone.layer9', r'no layer "backbone.layer9". Did you mean "backbone.layer\d"\? Its parts are: backbone.conv1'),
    ('head.fc', r'output of layer "head.fc", \(1, 4\), has no positions in the image'),
    ('neck', 'output of layer "neck", tuple, has no positions'),
])
def test_layers_that_will_not_do(layer, text):
    with pytest.raises(ConfigError, match=text):
        GradCam(build(RESNET, 128), layer)(torch.randn(1, 3, 64, 64), [0])


def test_a_layer_that_is_not_on_the_way():
    model = build(RESNET, 128)
    model.backbone.aside = nn.Conv2d(3, 3, 1)
    forward = model.backbone.forward
    model.backbone.forward = lambda x: (model.backbone.aside(x), forward(x))[1]
    with pytest.raises(ConfigError, match='do not depend on the output of layer "backbone.aside"'):
        GradCam(model, 'backbone.aside')(torch.randn(1, 3, 64, 64), [0])


def test_a_backbone_without_positions():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    with pytest.raises(ConfigError, match='the backbone Sequential has none. Name one with --cam-layer'):
        default_layer(Flat(), torch.zeros(1, 3, 2, 2))


def test_without_grad_cam(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "cxrdet\[cam\]"'):
        GradCam(nn.Identity())
