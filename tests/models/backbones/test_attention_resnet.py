"""ResNets with attention against torchvision's and the hosts' own, and where they are used."""
import copy

import pytest
import torch
import torchvision
from mmengine.registry import init_default_scope
from torch import nn

from cxrdet.checkpoints.checkpoint import install_safe_loader
from cxrdet.core.errors import CheckpointError
from cxrdet.core.recipes import find_config
from cxrdet.models.backbones import AttentionResNet, add_attention
from cxrdet.models.backbones.attention_resnet import preset
from cxrdet.models.layers import ECA, BoTAttention, CoordinateAttention, LinearBoTAttention
from cxrdet.registry import MODELS

PLAIN_18 = 11_176_512  # torchvision's resnet18 without its classifier: 11,689,512 - 513,000
PRESETS = {
    'ResNet18ECA': ([ECA], 5),
    'ResNet18CA': ([CoordinateAttention], 512 * 16 + 32 + 2 * (16 * 512 + 512)),
    'ResNet18BoT': ([BoTAttention], 4 * 512 * 512 + 512 + 2 * 33 * 128),
    'ResNet18BoTLinear': ([LinearBoTAttention], 4 * 512 * 512 + 512),
    'ResNet18Hybrid': ([CoordinateAttention, LinearBoTAttention], 25_632 + 1_049_088),
}


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


def build(name, **kwargs):
    return MODELS.build({'type': f'cxrdet.{name}', **kwargs})


def judge(net):
    """In evaluation mode; ``eval`` of the hosts' ResNets returns nothing."""
    net.eval()
    return net


def parameters(net):
    return sum(parameter.numel() for parameter in net.parameters())


# ---------------------------------------------------------------- presets
@pytest.mark.parametrize('name', PRESETS)
def test_preset(name):
    kinds, extra = PRESETS[name]
    net = build(name)
    assert [type(layer) for layer in net.layer4.attention] == kinds
    assert not any(hasattr(getattr(net, f'layer{i}'), 'attention') for i in (1, 2, 3))
    assert parameters(net) == PLAIN_18 + extra
    for size, side in ((32, 1), (64, 2), (96, 3), (75, 3)):  # small crops leave hardly a position
        out, = judge(net)(torch.randn(1, 3, size, size))
        assert out.shape == (1, 512, side, side)
        assert torch.isfinite(out).all()
    net.train()
    net(torch.randn(2, 3, 64, 64))[0].square().mean().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_options_of_presets():
    net = build('ResNet18Hybrid', num_heads=8, reduction=16, stages=(2, 4), out_indices=(1, 3))
    assert [layer.attention[1].num_heads for layer in (net.layer2, net.layer4)] == [8, 8]
    assert net.layer4.attention[0].reduce[0].out_channels == 32
    assert net.layer2.attention[0].rows.out_channels == 128
    assert [out.shape[1] for out in judge(net)(torch.zeros(1, 3, 64, 64))] == [128, 512]
    assert build('ResNet18CA', reduction=8).layer4.attention[0].reduce[0].out_channels == 64
    assert build('ResNet18BoT', num_heads=2).layer4.attention[0].num_heads == 2
    assert build('ResNet18BoTLinear', num_heads=1).layer4.attention[0].num_heads == 1
    with pytest.raises(ValueError, match=r'stages: expected numbers in 1 \.\. 4, got \(0, 4\)'):
        build('ResNet18ECA', stages=(0, 4))


# ---------------------------------------------------------------- torchvision's weights
def torchvision_net(depth):
    """With random weights and random batch norms, so that nothing is hidden by ones and zeros."""
    torch.manual_seed(depth)
    net = getattr(torchvision.models, f'resnet{depth}')(weights=None)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in ((module.weight, .5, 1), (module.bias, -.5, .5), (module.running_mean, -.5, .5),
                                      (module.running_var, .5, 2)):
                tensor.data.uniform_(low, high)
    return net.eval()


def stages_of(net, x):
    x, outs = net.maxpool(net.relu(net.bn1(net.conv1(x)))), []
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        outs.append(x := stage(x))
    return outs


@pytest.mark.parametrize('depth', [18, 34, 50])
def test_torchvision_checkpoint_loads_with_only_attention_missing(depth, tmp_path):
    theirs = torchvision_net(depth)
    torch.save(theirs.state_dict(), tmp_path / 'theirs.pth')
    attention = [None, {'type': 'cxrdet.BoTAttention'}, {'type': 'cxrdet.LinearBoTAttention', 'mid_channels': 64},
                 [{'type': 'cxrdet.CoordinateAttention'}, {'type': 'cxrdet.ECA'}]]
    ours = judge(build('AttentionResNet', depth=depth, attention=attention, out_indices=(0, 1, 2, 3),
                       init_cfg={'type': 'Pretrained', 'checkpoint': str(tmp_path / 'theirs.pth')}))
    fresh = {key: value.clone() for key, value in ours.state_dict().items() if '.attention.' in key}
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert set(missing) == {key for key in fresh if not key.endswith('num_batches_tracked')}  # a count torch forgives
    assert set(unexpected) == {'fc.weight', 'fc.bias'}
    for parameter in ours.parameters():  # all is forgotten but the attention; now through init_cfg
        parameter.data.fill_(7.)
    ours.load_state_dict(fresh, strict=False)
    ours.init_weights()
    state = ours.state_dict()
    assert all(torch.equal(state[key], value) for key, value in fresh.items())  # attention keeps its first values
    x = torch.randn(1, 3, 75, 64)
    with torch.no_grad():
        want, got = stages_of(theirs, x), ours(x)
        for number in (0, 1, 2):  # behind stages 2 and 3 stands attention that starts as the identity
            torch.testing.assert_close(got[number], want[number])
        torch.testing.assert_close(got[3], ours.layer4.attention(want[3]))
    assert not torch.allclose(got[3], want[3])


@pytest.mark.parametrize(('change', 'message'), [
    (lambda weights: {f'encoder.{name}': value for name, value in weights.items()},  # 20 convolutions, 20 norms of four
     r'a\.pth: the weights do not fit this ResNet18CA: 100 are missing \(conv1\.weight; .*Nothing was loaded'),
    (lambda weights: {f'backbone.{name}': value for name, value in weights.items()}, 'init_cfg.prefix="backbone."'),
    (lambda weights: {name: value for name, value in weights.items() if name != 'bn1.bias'}, '1 are missing'),
    (lambda weights: weights | {'conv1.weight': torch.zeros(64, 1, 7, 7)}, r'1 have another shape \(conv1\.weight \('),
    (lambda weights: {'model': weights}, r'100 are missing'), (lambda weights: list(weights.values()),
                                                                r'a\.pth: a checkpoint holds a dict')])
def test_a_pretrained_file_that_does_not_fit(change, message, tmp_path):
    install_safe_loader()  # as every tool does
    torch.save(change(torchvision_net(18).state_dict()), tmp_path / 'a.pth')
    net = build('ResNet18CA', init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth')))
    before = net.conv1.weight.clone()
    with pytest.raises(CheckpointError, match=message):
        net.init_weights()
    assert torch.equal(before, net.conv1.weight)


@pytest.mark.parametrize(('start', 'prefix'), [('', None), ('module.', None), ('backbone.', 'backbone.'),
                                               ('backbone.', 'backbone')])
def test_a_pretrained_file_that_fits(start, prefix, tmp_path):
    theirs = torchvision_net(18).state_dict()
    weights = {start + name: value for name, value in theirs.items() if 'num_batches_tracked' not in name}
    torch.save(dict(state_dict=weights), tmp_path / 'a.pth')
    net = build('ResNet18CA', init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'), prefix=prefix))
    net.init_weights()
    assert torch.equal(net.layer4[1].conv2.weight, theirs['layer4.1.conv2.weight'])


def test_converted_weights_leave_only_attention_out(tmp_path):
    theirs = torchvision_net(18).state_dict()
    cfg = dict(type='cxrdet.ConvertedPretrained', source='torchvision', checkpoint=str(tmp_path / 'a.pth'))
    torch.save(theirs, tmp_path / 'a.pth')
    net = build('ResNet18Hybrid', stages=(1, 4), init_cfg=cfg)
    fresh = {name: value.clone() for name, value in net.state_dict().items() if '.attention.' in name}
    net.init_weights()
    state = net.state_dict()
    assert all(torch.equal(state[name], value) for name, value in (theirs | fresh).items() if name in state)
    torch.save({name: value for name, value in theirs.items() if name != 'layer4.1.bn2.bias'}, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r'1 are missing \(layer4\.1\.bn2\.bias\)'):
        build('ResNet18Hybrid', init_cfg=cfg).init_weights()


def test_plain_is_torchvisions():
    theirs, ours = torchvision_net(18), AttentionResNet(18).eval()
    ours.load_state_dict(theirs.state_dict(), strict=False)
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(ours(x)[0], stages_of(theirs, x)[3])
    assert parameters(ours) == PLAIN_18


@pytest.mark.parametrize('options', [{}, {'init_cfg': None}])  # None is what --from-scratch leaves
def test_initialisers_leave_the_scale_alone(options):
    net = build('ResNet18Hybrid', **options)
    net.init_weights()
    attention = net.layer4.attention[1]
    assert attention.scale.abs().max() == 0
    assert attention.qkv.weight.std().item() == pytest.approx((2 / 1536) ** .5, rel=0.02)  # Kaiming, fan out


# ---------------------------------------------------------------- any ResNet of the hosts
HOSTS = [
    ('mmdet.ResNet', {'depth': 18, 'base_channels': 16}, (16, 32, 64, 128)),
    ('mmdet.ResNeXt', {'depth': 50, 'groups': 4, 'base_width': 4, 'base_channels': 16}, (64, 128, 256, 512)),
    ('mmdet.Res2Net', {'depth': 50, 'scales': 4, 'base_width': 26, 'base_channels': 16}, (64, 128, 256, 512)),
    ('mmpretrain.ResNetV1d', {'depth': 50, 'base_channels': 16, 'out_indices': (0, 1, 2, 3)}, (64, 128, 256, 512)),
    ('mmpretrain.SEResNet', {'depth': 50, 'out_indices': (0, 1, 2, 3)}, (256, 512, 1024, 2048)),
]


@pytest.mark.parametrize(('kind', 'kwargs', 'widths'), HOSTS, ids=[host[0] for host in HOSTS])
def test_behind_any_stage_of_any_resnet(kind, kwargs, widths):
    import mmdet.models  # noqa: F401
    init_default_scope(kind.split('.')[0])
    plain = judge(MODELS.build({'type': kind, **kwargs}))
    net = judge(MODELS.build({'type': 'cxrdet.with_attention', 'backbone': {'type': kind, **kwargs}, 'attention': [
        {'type': 'cxrdet.ECA'}, {'type': 'cxrdet.CoordinateAttention'},
        [{'type': 'cxrdet.LinearBoTAttention'}, {'type': 'cxrdet.CBAM'}], {'type': 'cxrdet.BoTAttention'}]}))
    assert type(net) is type(plain)
    missing, unexpected = net.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert missing and all('.attention.' in key for key in missing)
    x = torch.randn(1, 3, 64, 48)
    with torch.no_grad():
        outs = net(x)
        torch.testing.assert_close(outs[0], net.layer1.attention(plain(x)[0]))
    assert tuple(out.shape[1] for out in outs) == widths
    assert [out.shape[2:] for out in outs] == [(16, 12), (8, 6), (4, 3), (2, 2)]
    next_stage = plain.layer2(outs[0])  # the next stage sees the map after attention
    torch.testing.assert_close(outs[1], net.layer2.attention(next_stage))


def test_one_config_goes_behind_every_stage():
    net = add_attention(AttentionResNet(18, base_channels=16, stem_channels=16), {'type': 'cxrdet.ECA'})
    assert all(isinstance(getattr(net, f'layer{i}').attention[0], ECA) for i in (1, 2, 3, 4))


@pytest.mark.parametrize(('make', 'message'), [
    (lambda: AttentionResNet(18, [None, None]), 'one entry .* for each of the 4 stages, got 2'),
    (lambda: AttentionResNet(18, {'type': 'cxrdet.ECA'}, frozen_stages=1),
     r'stage 1 is frozen \(frozen_stages=1\), attention behind it would never learn'),
    (lambda: add_attention(nn.Linear(1, 1), []), 'Linear has no res_layers'),
])
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_frozen_stages_before_the_attention():
    net = AttentionResNet(18, [None, None, None, {'type': 'cxrdet.ECA'}], frozen_stages=2)
    net.train()
    frozen = {name.split('.')[0] for name, parameter in net.named_parameters() if not parameter.requires_grad}
    assert frozen == {'conv1', 'bn1', 'layer1', 'layer2'}


@pytest.mark.parametrize('make', [
    lambda attention, **kwargs: AttentionResNet(18, attention, **kwargs),
    lambda attention, **kwargs: build('with_attention', attention=attention, backbone=dict(
        type='mmpretrain.ResNet', depth=18, **kwargs)),
    lambda attention, **kwargs: build('with_attention', attention=attention, backbone=dict(
        type='mmdet.ResNet', depth=18, **kwargs))])
def test_norms_of_the_attention_learn_while_others_rest(make):
    layer = dict(type='cxrdet.CoordinateAttention')
    net = make([None, None, layer, layer], norm_eval=True, frozen_stages=2, stem_channels=8, base_channels=8)
    for each in (net, copy.deepcopy(net)):
        each.train()
        norms = {name: module for name, module in each.named_modules() if isinstance(module, nn.BatchNorm2d)}
        assert {name for name in norms if norms[name].training} == {
            'layer3.attention.0.reduce.1', 'layer4.attention.0.reduce.1'}
        each(torch.randn(2, 3, 64, 64))
        assert [name for name in norms if norms[name].num_batches_tracked == 1] == [
            'layer3.attention.0.reduce.1', 'layer4.attention.0.reduce.1']
        each.eval()
        assert not any(module.training for module in each.modules())


def test_attention_of_a_stage_that_is_frozen_later_rests():
    attention = preset('stage', [2, 4], gate=dict(type='cxrdet.CoordinateAttention'))
    net = AttentionResNet(18, attention, stem_channels=8, base_channels=8)
    net.frozen_stages = 3
    net.train()
    assert not net.layer2.attention.training
    assert net.layer4.attention[0].reduce[1].training


# ---------------------------------------------------------------- layer-wise rates
@pytest.mark.parametrize('depth', [34, 50, 101, 152])
def test_layer_depth_is_mmpretrains(depth):
    from mmpretrain.models.backbones import ResNet
    attention = [None, None, None, {'type': 'cxrdet.ECA'}]
    narrow = {'stem_channels': 16, 'base_channels': 16}
    ours, theirs = AttentionResNet(depth, attention, **narrow), ResNet(depth, **narrow)
    names = [f'backbone.{name}' for name, _ in theirs.named_parameters()] + ['head.fc.weight']
    for name in names:
        assert ours.get_layer_depth(name, 'backbone.') == theirs.get_layer_depth(name, 'backbone.'), name
    last_block = max(int(name.split('.')[2]) for name in names if name.startswith('backbone.layer4'))
    assert (ours.get_layer_depth('backbone.layer4.attention.0.conv.weight', 'backbone.')
            == ours.get_layer_depth(f'backbone.layer4.{last_block}.conv1.weight', 'backbone.'))


@pytest.mark.parametrize('depth', [50, 152])
def test_layer_depth_of_mmpretrains_resnet_with_attention(depth):
    from mmpretrain.models.backbones import ResNet
    narrow = {'stem_channels': 16, 'base_channels': 16}
    net = build('with_attention', backbone={'type': 'mmpretrain.ResNet', 'depth': depth, **narrow},
                attention={'type': 'cxrdet.ECA'})
    theirs, names = ResNet(depth, **narrow), {'head.fc.weight': 'head.fc.weight'}
    for name, _ in net.named_parameters():
        stage, part, *_ = [*name.split('.'), '']
        alike = f'{stage}.{net.stage_blocks[int(stage[-1]) - 1] - 1}.conv1.weight' if part == 'attention' else name
        names[f'backbone.{name}'] = f'backbone.{alike}'
    for each in (net, copy.deepcopy(net)):
        for name, alike in names.items():
            assert each.get_layer_depth(name, 'backbone.') == theirs.get_layer_depth(alike, 'backbone.'), name


def test_layer_depth_of_resnet_18():
    net = build('ResNet18Hybrid', stages=(2, 4))
    depths = {name: net.get_layer_depth(f'backbone.{name}', 'backbone.') for name, _ in net.named_parameters()}
    assert {depth for _, depth in depths.values()} == {6}
    layers = {name.split('.')[0]: layer for name, (layer, _) in depths.items()}
    assert layers == {'conv1': 0, 'bn1': 0, 'layer1': 1, 'layer2': 2, 'layer3': 3, 'layer4': 4}
    assert depths['layer2.attention.1.scale'] == (2, 6)
    assert net.get_layer_depth('head.fc.weight', 'backbone.') == (5, 6)


def test_layer_wise_rates_of_a_classifier():
    from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor
    model = MODELS.build({'type': 'ImageClassifier', 'neck': {'type': 'GlobalAveragePooling'},
                          'backbone': {'type': 'cxrdet.ResNet18Hybrid'},
                          'head': {'type': 'LinearClsHead', 'num_classes': 3, 'in_channels': 512}})
    wrapper = LearningRateDecayOptimWrapperConstructor(
        {'optimizer': {'type': 'AdamW', 'lr': 1e-3, 'weight_decay': 1e-2}}, {'layer_decay_rate': 0.5})(model)
    rates = {group['param_name']: group['lr'] for group in wrapper.optimizer.param_groups}
    assert rates['head.fc.weight'] == 1e-3
    assert rates['backbone.layer4.attention.1.scale'] == rates['backbone.layer4.1.conv2.weight'] == 5e-4
    assert rates['backbone.layer1.0.conv1.weight'] == 6.25e-5
    assert rates['backbone.conv1.weight'] == 3.125e-5
    assert len(rates) == len(list(model.parameters()))


# ---------------------------------------------------------------- detectors
@pytest.mark.parametrize('neck', [
    {'type': 'FPN', 'in_channels': [64, 128, 256, 512], 'out_channels': 16, 'num_outs': 5},
    {'type': 'cxrdet.BiFPN', 'in_channels': [64, 128, 256, 512], 'out_channels': 16, 'num_outs': 5, 'num_layers': 1},
], ids=['FPN', 'BiFPN'])
def test_under_a_pyramid(neck):
    import mmdet.models  # noqa: F401
    init_default_scope('mmdet')
    net = build('ResNet18Hybrid', out_indices=(0, 1, 2, 3), stages=(3, 4))
    pyramid = MODELS.build(neck)
    maps = net(torch.randn(2, 3, 101, 67))
    assert [tuple(x.shape[1:]) for x in maps] == [(64, 26, 17), (128, 13, 9), (256, 7, 5), (512, 4, 3)]
    outs = pyramid(maps)
    assert [tuple(x.shape) for x in outs] == [(2, 16, *size) for size in ((26, 17), (13, 9), (7, 5), (4, 3), (2, 2))]
    sum(x.square().mean() for x in outs).backward()
    assert net.layer4.attention[1].scale.grad.abs().sum() > 0


@pytest.mark.parametrize('name', ['faster_rcnn_fpn_cell', 'faster_rcnn_bifpn_cell_tiny'])
def test_backbone_of_a_detector(name):

    from mmdet.structures import DetDataSample
    from mmengine.config import Config
    from mmengine.structures import InstanceData
    cfg = Config.fromfile(find_config(name))
    init_default_scope('mmdet')
    import mmdet.models  # noqa: F401
    model = cfg.model
    model.backbone = {'type': 'cxrdet.ResNet18BoTLinear', 'out_indices': (0, 1, 2, 3)}
    model.neck.in_channels = [64, 128, 256, 512]
    model.rpn_head.anchor_generator.scales = [2]
    net = MODELS.build(model)
    gt = InstanceData(bboxes=torch.tensor([[5., 5., 40., 50.]]), labels=torch.tensor([0]))
    sample = DetDataSample(gt_instances=gt, metainfo={
        'img_shape': (64, 96), 'ori_shape': (64, 96), 'pad_shape': (64, 96), 'scale_factor': (1., 1.)})
    image = torch.zeros(3, 64, 96, dtype=torch.uint8)
    data = net.data_preprocessor({'inputs': [image], 'data_samples': [sample]}, True)
    loss, _ = net.parse_losses(net(**data, mode='loss'))
    loss.backward()
    assert torch.isfinite(loss)
    assert net.backbone.layer4.attention[0].scale.grad.abs().sum() > 0
