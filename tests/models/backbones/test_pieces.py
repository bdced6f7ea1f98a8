"""configs/_base_/backbones/: each gives the channels and strides it states, to FPN and BiFPN, and takes weights.

The references are torchvision's own models with random weights, of which the maps are taken by name.
"""
import re
from importlib import resources
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner.checkpoint import CheckpointLoader, get_torchvision_models
from torch import nn
from torch.nn import functional
from torchvision.models.feature_extraction import create_feature_extractor

import cxrdet  # noqa: F401
from cxrdet.preflight.check import advice_before_training, config_problems, examine
from cxrdet.preflight.config import load_config

pytestmark = pytest.mark.long

CONFIGS = Path(__file__).parents[3] / 'configs'
PIECES = {path.stem: path for path in sorted((CONFIGS / '_base_' / 'backbones').glob('*.py'))}
PACKAGED = {'efficientnet_lite0', 'efficientnet_lite1', 'efficientnet_lite2'}  # see test_efficientnet_lite.py
WANTED = {*PACKAGED, 'resnet18', 'resnet34', 'resnet50', 'resnet101', 'resnet152', 'resnext50', 'resnext101',
          'efficientnet_b0', 'efficientnet_b4', 'efficientnet_b7', 'densenet121', 'densenet201', 'swin_t', 'convnext_t',
          'preact_resnet152'}
EACH = pytest.mark.parametrize('name', sorted(PIECES))


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def piece(name):
    return Config.fromfile(PIECES[name])


def build(name, **changes):
    cfg = {key: value for key, value in piece(name).backbone.items() if key != '_delete_'}
    return MODELS.build(ConfigDict({**cfg, **changes}))


def test_all_that_are_wanted_are_there():
    assert set(PIECES) >= WANTED


@EACH
def test_channels_and_strides_under_fpn_and_bifpn(name):
    stated = piece(name)
    channels, strides = list(stated.backbone_channels), list(stated.backbone_strides)
    assert strides == [4, 8, 16, 32]
    backbone = build(name, init_cfg=None)
    backbone.eval()  # returns None for some backbones of the hosts
    necks = [MODELS.build(dict(type=kind, in_channels=channels, out_channels=16, num_outs=5, **more)).eval()
             for kind, more in (('FPN', {}), ('cxrdet.BiFPN', dict(num_layers=2)))]
    for height, width in ((128, 96), (97, 131)):  # the second is no multiple of anything
        image = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            maps = backbone(image)
            pyramids = [neck(maps) for neck in necks]
        assert [level.shape[1] for level in maps] == channels
        for level, stride in zip(maps, strides):
            assert torch.isfinite(level).all() and level.std() > 0
            for got, size in zip(level.shape[2:], (height, width)):
                assert got in (size // stride, -(-size // stride))  # rounded down or up; one number for 128 and 96
        for pyramid in pyramids:
            assert [tuple(level.shape[1:]) for level in pyramid[:4]] == [(16, *level.shape[2:]) for level in maps]
            assert len(pyramid) == 5 and all(torch.isfinite(level).all() for level in pyramid)


@EACH
def test_two_lines_make_a_variant(name, tmp_path):
    """Over FPN and BiFPN; nothing of the old backbone is left, and the check of a run has no complaint."""
    stated = piece(name)
    for base in ('faster_rcnn_fpn_cell', 'retinanet_bifpn_cell' if name == 'swin_t' else 'faster_rcnn_bifpn_cell'):
        (tmp_path / 'variant.py').write_text(
            f"_base_ = ['{CONFIGS}/{base}.py', '{PIECES[name]}']\n"
            'model = dict(backbone={{_base_.backbone}}, neck=dict(in_channels={{_base_.backbone_channels}}))\n')
        cfg = load_config(tmp_path / 'variant.py')
        expected = {key: value for key, value in stated.backbone.items() if key != '_delete_'}
        assert cfg.model.backbone == expected
        assert cfg.model.neck.in_channels == stated.backbone_channels
        assert cfg.model.neck.type == ('FPN' if '_fpn_' in base else 'cxrdet.BiFPN')
    assert config_problems(cfg) == []


@EACH
def test_a_local_checkpoint_is_loaded_whole(name, tmp_path):
    """As saved with a classifier or detector around it. Each entry is one number, so the file is small."""
    own = build(name, init_cfg=None).state_dict()
    told = {f'backbone.{key}': torch.tensor(i + 1, dtype=value.dtype).expand(value.shape)
            for i, (key, value) in enumerate(own.items())}
    told['head.fc.weight'] = torch.zeros(2)
    torch.save(dict(state_dict=told), tmp_path / 'weights.pth')
    backbone = build(name, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth'),
                                         prefix='backbone.'))
    backbone.init_weights()
    for i, (key, value) in enumerate(backbone.state_dict().items()):
        assert (value == i + 1).all(), key


@pytest.mark.parametrize(('name', 'classifier'), [
    ('efficientnet_b0', dict(type='mmpretrain.EfficientNet', arch='b0')),
    ('convnext_t', dict(type='mmpretrain.ConvNeXt', arch='tiny'))])
def test_the_backbone_of_a_classifier_is_loaded_whole(name, classifier, tmp_path):
    """As a training writes it; what only a classifier has is left out, norms that it lacks start anew."""
    own = MODELS.build(classifier).state_dict()
    told = {f'backbone.{key}': torch.tensor(i % 99 + 2, dtype=value.dtype).expand(value.shape)
            for i, (key, value) in enumerate(own.items())}
    torch.save(dict(state_dict=told | {'head.fc.weight': torch.zeros(1)}), tmp_path / 'epoch_1.pth')
    backbone = build(name, init_cfg=dict(type='cxrdet.ConvertedPretrained', source='cxrdet',
                                         checkpoint=str(tmp_path / 'epoch_1.pth')))
    backbone.init_weights()
    found = backbone.state_dict()
    assert {key.split('.')[0] for key in found.keys() - own.keys()} <= {'norm0', 'norm1', 'norm2'}
    assert {key.rpartition('.')[0] for key in own.keys() - found.keys()} <= {'layers.6.conv', 'layers.6.bn'}
    for key in found.keys() & own.keys():
        assert (found[key] == told[f'backbone.{key}']).all(), key


def stirred(model):
    """Running statistics, biases and scales that no initialisation would give."""
    generator = torch.Generator().manual_seed(1)
    for key, value in model.state_dict().items():
        if value.ndim < 2 and value.is_floating_point():
            value.add_(0.2 * torch.rand(value.shape, generator=generator))
        elif 'layer_scale' in key or 'bias_table' in key:
            value.copy_(0.3 * torch.randn(value.shape, generator=generator))
    return model.eval()


def layer_norm(channels_last, module=None):
    """A layer norm over the channels (N, H, W, C), fresh or torchvision's, to (N, C, H, W)."""
    if module is None:
        return functional.layer_norm(channels_last, channels_last.shape[-1:], eps=1e-6).permute(0, 3, 1, 2)
    return module(channels_last).permute(0, 3, 1, 2)


def reference_maps(name, model, images):
    """The four maps of torchvision's model."""
    def maps(*names):
        return list(create_feature_extractor(model, list(names))(images).values())
    if name.startswith('res'):
        return maps('layer1', 'layer2', 'layer3', 'layer4')
    if name.startswith('densenet'):
        norms = [f'features.transition{i}.norm' for i in (1, 2, 3)]
        return [functional.relu(found) for found in maps(*norms, 'features.norm5')]
    if name.startswith('efficientnet'):
        return maps('features.2', 'features.3', 'features.5', 'features.7')
    found = maps('features.1', 'features.3', 'features.5', 'features.7')
    if name == 'convnext_t':
        return [*(layer_norm(level.permute(0, 2, 3, 1)) for level in found[:3]), model.classifier[0](found[3])]
    return [*map(layer_norm, found[:3]), layer_norm(found[3], model.norm)]


def test_only_the_one_of_timm_starts_at_random():
    assert [name for name in PIECES if piece(name).backbone.get('init_cfg') is None] == ['preact_resnet152']


def test_maps_of_the_pre_activation_resnet():
    """Against timm's whole classifier with the same weights: the stages' sums, which its last norm and ReLU follow."""
    backbone = build('preact_resnet152')
    backbone.eval()
    model = timm.create_model('resnetv2_152').eval()
    weights = {re.sub(r'timm_model\.stages_', 'stages.', name).replace('timm_model.stem_', 'stem.'): value
               for name, value in backbone.state_dict().items()}
    left = model.load_state_dict(weights, strict=False)
    assert left.unexpected_keys == [] and all(name.startswith(('norm.', 'head.')) for name in left.missing_keys)
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model.forward_intermediates(image, indices=4, intermediates_only=True, norm=False)
        for theirs, ours in zip(expected, backbone(image), strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize('name', sorted(set(PIECES) - {'preact_resnet152'} - PACKAGED))
def test_weights_of_torchvision(name, monkeypatch):
    """The init_cfg of the piece, with a random model of torchvision in place of the download, gives its maps."""
    init_cfg = piece(name).backbone.init_cfg
    address = init_cfg.checkpoint.removeprefix('torchvision://')
    assert address in get_torchvision_models()
    torch.manual_seed(0)
    model = stirred(torchvision.models.get_model(address.partition('.')[0], weights=None))
    asked = []

    def load(filename, *args, **kwargs):
        asked.append(filename)
        return dict(model.state_dict())
    monkeypatch.setattr(CheckpointLoader, 'load_checkpoint', staticmethod(load))
    backbone = build(name)
    backbone.init_weights()
    backbone.eval()
    assert asked == [init_cfg.checkpoint]
    # torchvision's Swin does not shift windows that cover the whole map
    size = (256, 288) if name == 'swin_t' else (64, 96)
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected, found = reference_maps(name, model, images), backbone(images)
    for theirs, ours in zip(expected, found, strict=True):
        assert theirs.std() > 1e-3
        scale = theirs.abs().max()
        torch.testing.assert_close(ours / scale, theirs / scale, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', sorted(PACKAGED))
def test_what_a_recipe_takes_from_a_piece_with_its_own_pixels(name, tmp_path):
    """Backbone, channels and pixels: weights of the package arrive whole and the check of a run has nothing to say."""
    (tmp_path / 'variant.py').write_text(
        f"_base_ = ['{CONFIGS}/faster_rcnn_bifpn_cell.py', '{PIECES[name]}']\n"
        'model = dict(backbone={{_base_.backbone}}, neck=dict(in_channels={{_base_.backbone_channels}}),\n'
        '             data_preprocessor={{_base_.backbone_preprocessor}})\n')
    found = examine(load_config(tmp_path / 'variant.py'))
    assert [*config_problems(found), *advice_before_training(found)] == []
    backbone = MODELS.build(found.cfg.model.backbone)
    backbone.init_weights()
    package = found.cfg.model.backbone.init_cfg.checkpoint.removeprefix('package://')
    file, = Path(str(resources.files(package))).rglob('*.pth')
    given = torch.load(file, weights_only=True)
    assert torch.equal(backbone.layers[0].conv.weight, given['_conv_stem.weight'])
    assert torch.equal(backbone.layers[5][-1].linear_conv.bn.running_var, [
        value for key, value in given.items() if key.endswith('_bn2.running_var')][-1])


def test_frozen_statistics_in_training():
    """Pretrained detectors keep the statistics of their batch norms, DenseNet's among them."""
    for name in ('densenet121', 'efficientnet_b0', 'efficientnet_lite0', 'resnet18'):
        backbone = build(name, init_cfg=None)
        backbone.train()
        norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
        assert norms and not any(norm.training for norm in norms), name
    assert all(module.training for module in build('densenet121', init_cfg=None, norm_eval=False).train().modules())
