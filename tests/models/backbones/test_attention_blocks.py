"""Attention in the blocks of ResNets against timm's ECA, CA and BoT, counts by hand, and pretrained weights."""
import copy

import pytest
import torch
import torchvision
from mmengine.registry import init_default_scope
from timm.layers.bottleneck_attn import BottleneckAttn
from timm.layers.coord_attn import CoordAttn
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

from cxrdet.core.errors import CheckpointError, ConfigError
from cxrdet.registry import MODELS

PLAIN_18 = 11_176_512  # torchvision's resnet18 without its classifier
CA = sum(2 * (c * h + 2 * h + 2 * (h * c + c)) for c, h in ((64, 8), (128, 8), (256, 8), (512, 16)))
LINEAR = 2 * (3 - 9) * 512 * 512  # two 3x3 convolutions out, two times q, k and v in
COUNTS = {
    'ResNet18ECA': 2 * (3 + 5 + 5 + 5), 'ResNet18CA': CA, 'ResNet18BoT': LINEAR + 2 * 2 * 33 * 128,
    'ResNet18BoTLinear': LINEAR, 'ResNet18Hybrid': CA + LINEAR,
}


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


def build(name, **kwargs):
    return MODELS.build({'type': f'cxrdet.{name}', **kwargs})


def stirred(net):
    """Random batch norms, so that nothing is hidden by ones and zeros; in evaluation mode."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in ((module.weight, .5, 1), (module.bias, -.5, .5), (module.running_mean, -.5, .5),
                                      (module.running_var, .5, 2)):
                tensor.data.uniform_(low, high)
    net.eval()
    return net


@pytest.mark.parametrize('name', COUNTS)
def test_preset(name):
    net = build(name, position='blocks')
    assert sum(parameter.numel() for parameter in net.parameters()) == PLAIN_18 + COUNTS[name]
    net.eval()
    for size, side in ((32, 1), (75, 3), (96, 3)):
        assert net(torch.randn(1, 3, size, size))[0].shape == (1, 512, side, side)
    net = copy.deepcopy(net).train()  # as averaged weights are made
    net(torch.randn(2, 3, 64, 64))[0].square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in net.parameters())


# ---------------------------------------------------------------- gates before the sum
def coordinate(channels, **_):
    return CoordAttn(channels, rd_channels=max(channels // 32, 8), bias=True)


GATES = [
    ('ResNet18ECA', 'eca', {'conv': 'conv'}),
    ('ResNet18CA', coordinate, {'reduce.0': 'conv1', 'reduce.1': 'bn1', 'rows': 'conv_h', 'columns': 'conv_w'}),
]


@pytest.mark.parametrize(('name', 'layer', 'names'), GATES, ids=['ECA', 'CA'])
def test_gates_are_where_timm_has_them(name, layer, names):
    ours = stirred(build(name, position='blocks', out_indices=(0, 1, 2, 3)))
    theirs = ResNet(BasicBlock, (2, 2, 2, 2), block_args=dict(attn_layer=layer)).eval()
    state = {}
    for key, value in ours.state_dict().items():
        block, found, part = key.partition('.drop_path.attention.0.')
        old = next((start for start in names if found and part.startswith(f'{start}.')), '')
        state[f'{block}.se.{names[old]}{part.removeprefix(old)}' if found else key] = value
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(key.startswith('fc.') or key.endswith('se.conv1.bias') for key in missing)
    for key in missing:
        theirs.get_parameter(key).data.zero_()
    x = torch.randn(2, 3, 75, 64)
    with torch.no_grad():
        y = theirs.maxpool(theirs.act1(theirs.bn1(theirs.conv1(x))))
        for got, stage in zip(ours(x), (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4)):
            y = stage(y)
            torch.testing.assert_close(got, y)


# ---------------------------------------------------------------- self-attention in place of a convolution
@pytest.mark.parametrize(('depth', 'size'), [(18, (64, 96)), (50, (64, 96)), (50, (96, 32))])
def test_bot_is_timms_in_torchvisions_resnet(depth, size):
    attention = [None, None, None, {'type': 'cxrdet.BoTAttention', 'num_heads': 4}]
    ours = stirred(build('AttentionResNet', depth=depth, attention=attention, position='blocks'))
    theirs = getattr(torchvision.models, f'resnet{depth}')(weights=None).eval()
    for i, block in enumerate(theirs.layer4):
        halved = i == 0 and depth == 50  # the basic block's stride is in conv1, which stays
        sides = [side // (16 if halved else 32) for side in size]
        block.conv2 = BottleneckAttn(512, feat_size=tuple(sides), stride=2 if halved else 1, scale_pos_embed=True)
        layer = ours.layer4[i].conv2.attention
        block.conv2.qkv.weight.data.copy_(layer.qkv.weight)
        for name, table, side in (('height_rel', layer.row_offsets, sides[0]),
                                  ('width_rel', layer.column_offsets, sides[1])):
            getattr(block.conv2.pos_embed, name).data.copy_(table[17 - side:16 + side])
    missing, _ = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert all(key.startswith('fc.') or '.conv2.' in key for key in missing)
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        want = nn.Sequential(*list(theirs.children())[:-2])(x)
        torch.testing.assert_close(ours(x)[0], want, rtol=1e-4, atol=1e-5)


def test_stride_at_odd_sizes_keeps_the_last_row():
    attention = [None, None, {'type': 'cxrdet.LinearBoTAttention'}, None]
    net = stirred(build('AttentionResNet', depth=50, attention=attention, position='blocks', out_indices=(2,)))
    assert net(torch.randn(1, 3, 72, 64))[0].shape == (1, 1024, 5, 4)  # 9 rows behind stage 2
    x = torch.arange(9.).expand(1, 1, 3, 9)
    pooled = net.layer3[0].conv2.pool(x)
    torch.testing.assert_close(pooled[0, 0], torch.tensor([[.5, 2.5, 4.5, 6.5, 8.]] * 2))


@pytest.mark.parametrize('kind', ['BoTAttention', 'LinearBoTAttention'])
def test_bare_layer_is_the_heads_alone(kind):
    whole = MODELS.build({'type': f'cxrdet.{kind}', 'in_channels': 16, 'init_scale': 1})
    whole.project.weight.data.copy_(torch.eye(16)[:, :, None, None])
    bare = MODELS.build({'type': f'cxrdet.{kind}', 'in_channels': 16, 'residual': False})
    missing, unexpected = bare.load_state_dict(whole.state_dict(), strict=False)
    assert (missing, unexpected) == ([], ['scale', 'project.weight'])
    x = torch.randn(2, 16, 5, 4)
    torch.testing.assert_close(bare(x), whole(x) - x)
    torch.testing.assert_close(torch.jit.script(bare)(x), bare(x))


@pytest.mark.parametrize('name', ['ResNet18BoT', 'ResNet18BoTLinear', 'ResNet18Hybrid'])
def test_init_scale(name):
    for options, value in (({}, 0.), ({'init_scale': 1}, 1.)):
        net = build(name, **options)
        net.init_weights()
        assert torch.equal(net.layer4.attention[-1].scale, torch.full((512,), value))


# ---------------------------------------------------------------- what goes with it
@pytest.mark.parametrize('kind', ['Pretrained', 'cxrdet.ConvertedPretrained'])
def test_torchvisions_weights_fill_the_parts_that_are_left(kind, tmp_path):
    theirs = stirred(torchvision.models.resnet18(weights=None)).state_dict()
    cfg = dict(type=kind, checkpoint=str(tmp_path / 'a.pth'))
    if kind != 'Pretrained':
        cfg['source'] = 'torchvision'
    torch.save(theirs, cfg['checkpoint'])
    net = build('ResNet18Hybrid', position='blocks', init_cfg=cfg)
    fresh = {name: value.clone() for name, value in net.state_dict().items() if '.attention.' in name}
    net.init_weights()
    state = net.state_dict()
    assert all(torch.equal(state[name], value) for name, value in (theirs | fresh).items() if name in state)
    assert set(theirs) - set(state) == {'fc.weight', 'fc.bias', 'layer4.0.conv2.weight', 'layer4.1.conv2.weight'}
    torch.save({name: value for name, value in theirs.items() if name != 'layer4.1.conv1.weight'}, cfg['checkpoint'])
    with pytest.raises(CheckpointError, match=r'1 are missing \(layer4\.1\.conv1\.weight\)'):
        build('ResNet18Hybrid', position='blocks', init_cfg=cfg).init_weights()


def test_norms_and_rates():
    net = build('ResNet18Hybrid', position='blocks', stages=(3, 4), norm_eval=True, frozen_stages=2)
    net.train()
    learning = {name for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d) and module.training}
    assert learning == {f'layer{i}.{j}.drop_path.attention.0.reduce.1' for i in (3, 4) for j in (0, 1)}
    assert net.get_layer_depth('backbone.layer3.1.drop_path.attention.0.rows.bias', 'backbone.') == (3, 6)
    assert net.get_layer_depth('backbone.layer4.0.conv2.attention.qkv.weight', 'backbone.') == (4, 6)


def test_mmpretrains_resnet_with_attention_in_its_blocks():
    net = build('with_attention', attention={'type': 'cxrdet.CBAM'}, position='blocks', backbone=dict(
        type='mmpretrain.ResNetV1d', depth=50, base_channels=8, stem_channels=8, drop_path_rate=0.1))
    gates = [name for name, _ in net.named_modules() if name.endswith('drop_path.attention')]
    assert len(gates) == 3 + 4 + 6 + 3
    net(torch.randn(2, 3, 64, 64))[0].mean().backward()
    assert net.layer1[0].drop_path.attention[0].spatial.conv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(('make', 'message'), [
    (lambda: build('ResNet18ECA', position='block'), 'position must be .* got "block".*Did you mean'),
    (lambda: build('ResNet18BoT', position='blocks', init_scale=1), r'init_scale=1 needs residual=True'),
    (lambda: build('ResNet18BoT', init_scale='abc'), r"init_scale must lie in \(-inf, inf\), got 'abc'"),
    (lambda: build('ResNet18BoT', init_scale=float('nan')), r'init_scale must lie in \(-inf, inf\), got nan'),
    (lambda: build('ResNet18ECA', position='blocks', frozen_stages=1), r'stage 1 is frozen'),
    (lambda: build('AttentionResNet', depth=18, position='blocks', attention=dict(
        type='cxrdet.BoTAttention', mid_channels=32)), r'expected 64 channels, got 32'),
    (lambda: build('AttentionResNet', depth=18, position='blocks', attention=[None, None, None, [
        dict(type='cxrdet.BoTAttention'), dict(type='cxrdet.LinearBoTAttention')]]), 'one convolution .* got 2'),
    (lambda: build('with_attention', position='blocks', attention=dict(type='cxrdet.ECA'), backbone=dict(
        type='mmpretrain.SEResNet', depth=50)), r'MMPretrain, got a block .*SEBottleneck'),
], ids=['position', 'scale', 'scale text', 'scale nan', 'frozen', 'channels', 'two', 'host'])
def test_bad_arguments(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
