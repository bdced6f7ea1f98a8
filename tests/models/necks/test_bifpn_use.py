"""BiFPN as it is used: in half precision, in channels_last, traced, with attention, and inside MMDetection."""
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import TASK_UTILS, init_default_scope

from cxrdet.core.recipes import find_config
from cxrdet.models.necks.bifpn import BiFPN
from cxrdet.registry import MODELS

SIZES_317x243 = [(80, 61), (40, 31), (20, 16), (10, 8)]  # strides 4, 8, 16, 32, each rounded up


def pyramid(channels, sizes, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, c, *size, generator=generator) for c, size in zip(channels, sizes, strict=True)]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmdet')


# ---------------------------------------------------------------- precision and memory format
def test_autocast_gives_bfloat16_and_keeps_channels_last():
    channels = [4, 8, 16]
    net = BiFPN(channels, 16, num_outs=4, num_layers=2, attention={'type': 'cxrdet.CBAM'}).eval()
    net.init_weights()
    net = net.to(memory_format=torch.channels_last)
    inputs = [x.to(memory_format=torch.channels_last) for x in pyramid(channels, SIZES_317x243[:3])]
    want = net(inputs)
    with torch.autocast('cpu', torch.bfloat16):
        outs = net(inputs)
        loss = sum(out.float().square().mean() for out in outs)
    loss.backward()
    for out, exact in zip(outs, want, strict=True):
        assert out.dtype == torch.bfloat16
        assert out.is_contiguous(memory_format=torch.channels_last)
        assert exact.is_contiguous(memory_format=torch.channels_last)
        assert (out.float() - exact).abs().max() < 0.05 * exact.abs().max()
    for name, parameter in net.named_parameters():
        assert parameter.dtype == parameter.grad.dtype == torch.float32, name


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.bfloat16, 0.06), (torch.float16, 0.01)])
def test_half_precision_model(dtype, tolerance):
    channels = [4, 8]
    net = BiFPN(channels, 8, num_outs=3, num_layers=2).eval()
    net.init_weights()
    inputs = pyramid(channels, SIZES_317x243[:2])
    with torch.no_grad():
        want = net(inputs)
        outs = net.to(dtype)([x.to(dtype) for x in inputs])
    assert net.layers[0].outputs[0].normalised_weight().dtype == torch.float32
    for out, exact in zip(outs, want, strict=True):
        assert out.dtype == dtype
        assert (out.float() - exact).abs().max() < tolerance * exact.abs().max()


@pytest.mark.filterwarnings('ignore:.*torch.jit:DeprecationWarning', 'ignore::torch.jit.TracerWarning')
def test_traced_model_gives_the_same():
    net = BiFPN([2, 3], 4, num_outs=3).eval()
    inputs = pyramid([2, 3], [(13, 10), (7, 5)])
    traced = torch.jit.trace(net, (inputs,), check_trace=False)
    other = pyramid([2, 3], [(13, 10), (7, 5)], seed=5)
    for out, want in zip(traced(other), net(other), strict=True):
        torch.testing.assert_close(out, want)


# ---------------------------------------------------------------- attention
def test_attention_is_applied_to_each_output():
    plain = BiFPN([2, 3], 4, num_outs=3).eval()
    net = BiFPN([2, 3], 4, num_outs=3, attention={'type': 'cxrdet.CBAM', 'ratio': 2}).eval()
    net.load_state_dict(plain.state_dict(), strict=False)
    inputs = pyramid([2, 3], SIZES_317x243[:2])
    for out, before, layer in zip(net(inputs), plain(inputs), net.attentions, strict=True):
        assert type(layer).__name__ == 'CBAM'
        assert layer.channel.mlp[0].weight.shape == (2, 4, 1, 1)
        torch.testing.assert_close(out, layer(before))
        assert not torch.equal(out, before)


def test_attention_on_chosen_outputs_and_from_another_scope():
    context = {'type': 'ContextBlock', 'ratio': 0.5}  # of MMCV
    net = BiFPN([2, 3], 4, num_outs=3, attention=[None, {'type': 'cxrdet.CBAM'}, context])
    assert [type(layer).__name__ for layer in net.attentions] == ['Identity', 'CBAM', 'ContextBlock']


# ---------------------------------------------------------------- inside MMDetection
@pytest.mark.parametrize('kwargs', [
    {'num_outs': 4}, {'num_outs': 5}, {'num_outs': 5, 'start_level': 1}, {'num_outs': 7}])
def test_same_shapes_as_fpn(kwargs):
    from mmdet.models.necks import FPN
    channels = [2, 3, 4, 5]
    inputs = pyramid(channels, SIZES_317x243)
    ours = MODELS.build(dict(type='cxrdet.BiFPN', in_channels=channels, out_channels=8, **kwargs))
    theirs = FPN(channels, 8, add_extra_convs='start_level' in kwargs, **kwargs)
    assert [out.shape for out in ours(inputs)] == [out.shape for out in theirs(inputs)]


@pytest.mark.parametrize('name', ['retinanet_bifpn_cell', 'faster_rcnn_bifpn_p3_p7_cell'])
def test_configs_on_p3_to_p7(name):
    """Strides 8 to 128 in pyramid, anchors and regions alike; the smallest anchors have the 16 px of the flagship."""
    cfg = Config.fromfile(find_config(name)).model
    neck = MODELS.build(cfg.neck)
    outs = neck([torch.zeros(1, c, 256 // s, 384 // s) for c, s in zip(cfg.neck.in_channels, (4, 8, 16, 32))])
    strides = [256 // out.shape[2] for out in outs]
    anchors = TASK_UTILS.build(cfg.get('rpn_head', cfg.bbox_head if 'bbox_head' in cfg else None).anchor_generator)
    assert strides == [8, 16, 32, 64, 128] == [384 // out.shape[3] for out in outs]
    assert anchors.strides == [(stride, stride) for stride in strides]
    if 'roi_head' in cfg:
        extractor = MODELS.build(cfg.roi_head.bbox_roi_extractor)
        assert extractor.featmap_strides == strides[:4]
        sides = torch.tensor([20., 111., 113., 230., 450., 2000.])
        rois = torch.stack([sides * 0, sides * 0, sides * 0, sides, sides], 1)
        assert extractor.map_roi_levels(rois, 4).tolist() == [0, 0, 0, 1, 2, 3]
        areas = [(base[:, 2] - base[:, 0]) * (base[:, 3] - base[:, 1]) for base in anchors.base_anchors]
        assert [round(area.mean().item() ** 0.5) for area in areas] == [16, 32, 64, 128, 256]


def test_faster_rcnn_with_bifpn_trains_a_step_and_predicts():
    from mmdet.registry import MODELS as MMDET
    from mmdet.structures import DetDataSample
    from mmengine.hub import get_config
    from mmengine.structures import InstanceData
    torch.manual_seed(0)
    cfg = get_config('mmdet::_base_/models/faster-rcnn_r50_fpn.py').model
    cfg.backbone = {'type': 'ResNet', 'depth': 18, 'base_channels': 4, 'norm_cfg': {'type': 'BN'}}
    cfg.neck = {'type': 'cxrdet.BiFPN', 'in_channels': [4, 8, 16, 32], 'out_channels': 16, 'num_layers': 2,
                'num_outs': 5}
    cfg.rpn_head.update(in_channels=16, feat_channels=16)
    cfg.roi_head.bbox_roi_extractor.out_channels = 16
    cfg.roi_head.bbox_head.update(in_channels=16, fc_out_channels=32, num_classes=3)
    model = MMDET.build(cfg)
    assert isinstance(model.neck, BiFPN)
    sample = DetDataSample(metainfo={'img_shape': (126, 94), 'ori_shape': (126, 94), 'scale_factor': (1., 1.)})
    sample.gt_instances = InstanceData(bboxes=torch.tensor([[10., 12., 60., 70.]]), labels=torch.tensor([1]))
    data = {'inputs': [torch.randint(0, 256, (3, 126, 94), dtype=torch.uint8)], 'data_samples': [sample]}
    losses = model(**model.data_preprocessor(data, training=True), mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    assert total.isfinite()
    assert all(p.grad is not None and p.grad.abs().sum() > 0
               for name, p in model.neck.named_parameters() if name.endswith('fusion_weight'))
    with torch.no_grad():
        result = model.eval()(**model.data_preprocessor(data), mode='predict')[0].pred_instances
    assert result.bboxes.shape[1] == 4
    assert result.bboxes.isfinite().all()
