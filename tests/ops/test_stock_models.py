"""Stock models of mmdet, made small, trained for one step and asked for predictions through the bridge."""
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.long

HEIGHT, WIDTH, CLASSES = 64, 96, 3
# 32, 64, 128, 256 channels; residual branches that do not begin at zero, so that gradients reach them at once
TINY_RESNET = {'depth': 50, 'base_channels': 8, 'zero_init_residual': False, 'init_cfg': None}
TINY_CHANNELS = [32, 64, 128, 256]
ROI_HEAD = {'bbox_head': {'num_classes': CLASSES, 'fc_out_channels': 32}}
TWO_STAGE = {'backbone': TINY_RESNET, 'neck': {'in_channels': TINY_CHANNELS}, 'roi_head': ROI_HEAD}
RETINANET = {'backbone': TINY_RESNET, 'neck': {'in_channels': TINY_CHANNELS},
             'bbox_head': {'num_classes': CLASSES, 'stacked_convs': 1}, 'test_cfg': {'score_thr': 0.0}}
DEFORMABLE_DETR = {
    'num_queries': 12, 'backbone': TINY_RESNET, 'neck': {'in_channels': TINY_CHANNELS[1:]},
    'encoder': {'num_layers': 1, 'layer_cfg': {'ffn_cfg': {'feedforward_channels': 32}}},
    'decoder': {'num_layers': 2, 'layer_cfg': {'ffn_cfg': {'feedforward_channels': 32}}},
    'bbox_head': {'num_classes': CLASSES}, 'test_cfg': {'max_per_img': 20}}
RTMDET = {'backbone': {'init_cfg': None}, 'test_cfg': {'score_thr': 0.0},
          'bbox_head': {'num_classes': CLASSES, 'exp_on_reg': True}}  # untrained boxes would have no area otherwise
DYHEAD = {'backbone': TINY_RESNET, 'neck': {'0': {'in_channels': TINY_CHANNELS}, '1': {'num_blocks': 1}},
          'bbox_head': {'num_classes': CLASSES}, 'test_cfg': {'score_thr': 0.0}}
SOFT_NMS = {'test_cfg': {'rcnn': {'nms': {'type': 'soft_nms', 'min_score': 0.01}}}}

ROI_ALIGN = {'roi_align_forward', 'roi_align_backward'}
DCN_V1 = {'deform_conv_forward', 'deform_conv_backward_input', 'deform_conv_backward_parameters'}
DCN_V2 = {'modulated_deform_conv_forward', 'modulated_deform_conv_backward'}
CASES = {  # config, changes, operators of the training step, of the prediction, a weight that gets a gradient by them
    'faster_rcnn': ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', TWO_STAGE, {'nms', *ROI_ALIGN},
                    {'nms', 'roi_align_forward'}, 'roi_head.bbox_head.fc_reg.weight'),
    'soft_nms': ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', {**TWO_STAGE, **SOFT_NMS}, {'nms', *ROI_ALIGN},
                 {'nms', 'softnms', 'roi_align_forward'}, 'neck.fpn_convs.0.conv.weight'),
    'dcn': ('dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py', TWO_STAGE, {'nms', *ROI_ALIGN, *DCN_V1},
            {'nms', 'deform_conv_forward'}, 'backbone.layer4.2.conv2.conv_offset.weight'),
    'dcn_v2': ('dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco.py', TWO_STAGE, {'nms', *ROI_ALIGN, *DCN_V2},
               {'nms', 'modulated_deform_conv_forward'}, 'backbone.layer2.0.conv2.conv_offset.weight'),
    'retinanet': ('retinanet/retinanet_r50_fpn_1x_coco.py', RETINANET, set(), {'nms'},
                  'bbox_head.retina_cls.weight'),
    'deformable_detr': ('deformable_detr/deformable-detr_r50_16xb2-50e_coco.py', DEFORMABLE_DETR, set(), set(),
                        'decoder.layers.0.cross_attn.sampling_offsets.weight'),
    'dyhead': ('dyhead/atss_r50_fpn_dyhead_1x_coco.py', DYHEAD, DCN_V2, {'modulated_deform_conv_forward'},
               'neck.1.dyhead_blocks.0.spatial_conv_offset.weight'),
    'rtmdet': ('rtmdet/rtmdet_tiny_8xb32-300e_coco.py', RTMDET, set(), {'nms'}, 'bbox_head.rtm_cls.0.weight'),
}


@pytest.fixture(scope='module')
def build(ops):
    """A function that builds a model of CASES in its shrunken form, with seeded weights."""
    import mmdet
    from mmdet.registry import MODELS
    from mmengine.config import Config
    from mmengine.model import revert_sync_batchnorm
    from mmengine.registry import DefaultScope

    def build_case(name: str, device: str) -> torch.nn.Module:
        file, changes, *_ = CASES[name]
        config = Config.fromfile(Path(mmdet.__file__).parent / '.mim' / 'configs' / file)
        config.merge_from_dict({'model': changes})
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = MODELS.build(config.model)
            model.init_weights()
        return revert_sync_batchnorm(model).to(device)
    return build_case


def batch(model, training: bool) -> dict:
    """Two made-up images; the first holds two boxes, the second none."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (3, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8) for _ in range(2)]
    samples = []
    for boxes, labels in (([[8., 8, 40, 44], [50, 10, 90, 60]], [0, 2]), ([], [])):
        sample = DetDataSample(metainfo={'img_id': 0, 'img_shape': (HEIGHT, WIDTH), 'ori_shape': (HEIGHT, WIDTH),
                                         'scale_factor': (1.0, 1.0)})
        sample.gt_instances = InstanceData(bboxes=torch.tensor(boxes).reshape(-1, 4),
                                           labels=torch.tensor(labels, dtype=torch.long))
        samples.append(sample)
    return model.data_preprocessor({'inputs': images, 'data_samples': samples}, training)


def train_step(model) -> float:
    """Loss of one batch, with its gradients left in the model."""
    model.train()
    model.zero_grad()
    torch.manual_seed(1)
    loss, _ = model.parse_losses(model(**batch(model, True), mode='loss'))
    loss.backward()
    return loss.item()


@pytest.mark.parametrize('name', CASES)
def test_one_step_and_one_prediction(build, called, device, name):
    _, _, training_operators, prediction_operators, weight = CASES[name]
    model = build(name, device)
    assert 0 < train_step(model) < 1e4
    assert training_operators <= called
    gradients = {key: p.grad for key, p in model.named_parameters() if p.requires_grad and p.grad is not None}
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert gradients[weight].abs().sum() > 0

    called.clear()
    model.eval()
    with torch.no_grad():
        results = model(**batch(model, False), mode='predict')
    assert prediction_operators <= called
    for result in results:
        found = result.pred_instances
        assert 0 < len(found) <= 300
        assert found.bboxes.min() >= -1e-3
        assert (found.bboxes.amax(0).cpu() <= torch.tensor([WIDTH, HEIGHT] * 2) + 1e-3).all()
        assert found.labels.max() < CLASSES
        assert torch.equal(found.scores, found.scores.sort(descending=True).values)


def test_deformable_attention_of_the_bridge_in_the_model(build, ops, called, device, monkeypatch):
    """On the CPU mmcv takes its own PyTorch path; forced through the operator, loss and gradients are the same."""
    attention = ops.multi_scale_deform_attn
    model = build('deformable_detr', device)
    expected = train_step(model)
    gradients = {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}

    def through_the_operator(value, shapes, locations, weights):
        starts = torch.cat([shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]])
        return attention.MultiScaleDeformableAttnFunction.apply(value, shapes, starts, locations, weights, 64)

    monkeypatch.setattr(attention, 'multi_scale_deformable_attn_pytorch', through_the_operator)
    assert train_step(model) == pytest.approx(expected, rel=1e-4)
    assert {'ms_deform_attn_forward', 'ms_deform_attn_backward'} <= called
    for key, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, gradients[key], rtol=1e-3, atol=1e-4)


def test_focal_loss_of_the_bridge_in_the_model(build, called, device, monkeypatch):
    """On the CPU mmdet takes its own PyTorch formula; forced through the operator, loss and gradients are the same."""
    from mmdet.models.losses import focal_loss
    model = build('retinanet', device)
    expected = train_step(model)
    gradient = model.bbox_head.retina_cls.weight.grad.clone()

    def through_the_operator(pred, target, *args, **kwargs):
        background = 1 - target.sum(1, keepdim=True)
        return focal_loss.sigmoid_focal_loss(pred, torch.cat([target, background], 1).argmax(1), *args, **kwargs)

    monkeypatch.setattr(focal_loss, 'py_sigmoid_focal_loss', through_the_operator)
    assert train_step(model) == pytest.approx(expected, rel=1e-5)
    assert {'sigmoid_focal_loss_forward', 'sigmoid_focal_loss_backward'} <= called
    torch.testing.assert_close(model.bbox_head.retina_cls.weight.grad, gradient, rtol=1e-4, atol=1e-6)


def test_mixed_precision_step(build, called, device):
    """bfloat16 autocast, as the AMP training of mmengine does it on the CPU."""
    model = build('dcn_v2', device)
    with torch.autocast(device, torch.bfloat16):
        assert 0 < train_step(model) < 1e4
    assert ROI_ALIGN | DCN_V2 <= called
    assert model.backbone.layer2[0].conv2.conv_offset.weight.grad.abs().sum() > 0
