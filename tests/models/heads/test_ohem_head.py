"""Hard examples in heads: OHEMLoss as their loss, OHEMSampler before a box head, against sorts by hand."""
import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import TASK_UTILS, DefaultScope
from mmengine.structures import InstanceData
from torchvision.ops import box_iou, sigmoid_focal_loss

from cxrdet.preflight.config import load_config
from cxrdet.registry import MODELS

CROSS_ENTROPY = dict(type='mmdet.CrossEntropyLoss', use_sigmoid=False)


def build(loss):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(dict(type='mmdet.Shared2FCBBoxHead', in_channels=16, fc_out_channels=16, roi_feat_size=2,
                                 num_classes=3, loss_cls=loss))


def losses(head, scores, labels, weights):
    return head.loss(scores, None, None, labels, weights, None, None)


def test_as_the_loss_of_a_head():
    """Ten regions, two of weight 0: of the other eight the 6 = ceil(0.7 x 8) hardest count, divided by 6."""
    head = build(dict(type='cxrdet.OHEMLoss', loss=CROSS_ENTROPY, keep=0.7))
    scores, _ = head(torch.randn(10, 16, 2, 2))
    assert scores.shape == (10, 4)
    labels, weights = torch.arange(10) % 4, torch.ones(10)
    weights[[2, 7]] = 0
    each = -scores.log_softmax(1)[range(10), labels]
    hardest = each[weights > 0].sort(descending=True).values[:6]
    found = losses(head, scores, labels, weights)['loss_cls']
    assert found.item() == pytest.approx(hardest.mean().item(), rel=1e-5)
    found.backward()
    assert head.fc_cls.weight.grad.abs().sum() > 0


@pytest.mark.parametrize('name', ['faster_rcnn_fpn_cell+ohem_loss', 'faster_rcnn_fpn_bccd_ohem_loss'])
def test_loss_of_the_configs(name):
    """Of 20 sampled regions the 14 with the highest cross-entropy; a region of weight 0 is none of the 20."""
    cfg = load_config(name).model
    head = build(cfg.roi_head.bbox_head.loss_cls)
    assert (head.loss_cls.keep, cfg.train_cfg.rcnn.sampler.type) == (0.7, 'RandomSampler')
    scores = torch.randn(21, 4, generator=torch.manual_seed(2), requires_grad=True)
    labels, weights = torch.arange(21) % 4, torch.ones(21)
    weights[5] = 0
    each = -scores.log_softmax(1)[range(21), labels]
    hardest = (each * weights).sort(descending=True)
    found = losses(head, scores, labels, weights)
    assert found['loss_cls'].item() == pytest.approx(hardest.values[:14].sum().item() / 14, rel=1e-5)
    assert found.keys() == {'loss_cls', 'acc'}
    found['loss_cls'].backward()
    assert scores.grad.any(1).nonzero().flatten().tolist() == sorted(hardest.indices[:14].tolist())


def dense(kind, loss):
    """A dense head of three classes (RPN: one) over one level of 8 x 8 places."""
    torch.manual_seed(0)
    anchors = dict(type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[8])
    more = dict(norm_cfg=None) if kind == 'FCOSHead' else dict(
        anchor_generator=anchors, bbox_coder=dict(type='DeltaXYWHBBoxCoder'), loss_bbox=dict(type='L1Loss'),
        train_cfg=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
                       sampler=dict(type='PseudoSampler'), allowed_border=-1, pos_weight=-1))
    classes = {} if kind == 'RPNHead' else dict(num_classes=3, stacked_convs=1)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(dict(type=f'mmdet.{kind}', in_channels=8, feat_channels=8, loss_cls=loss, **more,
                                 **classes))


FOCAL = dict(type='mmdet.FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25)


@pytest.mark.parametrize(('kind', 'channels'), [('RetinaHead', 3), ('FCOSHead', 3), ('RPNHead', 1)])
def test_dense_heads_predict_no_background(kind, channels):
    head = dense(kind, dict(type='cxrdet.OHEMLoss', loss=FOCAL, use_sigmoid=True))
    assert head.use_sigmoid_cls and head.cls_out_channels == channels
    assert head.loss_cls.use_sigmoid is True  # where DETR's heads look


@pytest.mark.parametrize('keep', [1.0, 0.3])
def test_retinanet(keep):
    """The focal loss of the hardest share of the 64 x 3 scores, divided by that share of the number of objects."""
    head = dense('RetinaHead', dict(type='cxrdet.OHEMLoss', loss=FOCAL, keep=keep, use_sigmoid=True))
    scores, deltas = head([torch.randn(1, 8, 8, 8, generator=torch.Generator().manual_seed(1))])
    assert scores[0].shape == (1, 3, 8, 8)
    truth = InstanceData(bboxes=torch.tensor([[4., 4., 36., 36.]]), labels=torch.tensor([2]))
    found = head.loss_by_feat(scores, deltas, [truth], [dict(img_shape=(64, 64), pad_shape=(64, 64))])['loss_cls'][0]
    x1 = y1 = torch.arange(8.) * 8 - 16  # anchors of 32 px around the corners of the strides
    boxes = torch.stack([x1.repeat(8), y1.repeat_interleave(8), x1.repeat(8) + 32, y1.repeat_interleave(8) + 32], 1)
    iou = box_iou(boxes, truth.bboxes)[:, 0]
    positive = (iou >= 0.5) | (iou == iou.max())
    known, target = positive | (iou < 0.4), torch.zeros(64, 3)
    target[positive, 2] = 1
    each = sigmoid_focal_loss(scores[0].permute(0, 2, 3, 1).reshape(64, 3), target, alpha=0.25, gamma=2)
    each = each[known].flatten()
    hardest = each.sort(descending=True).values[:math.ceil(keep * len(each) - 1e-9)]
    assert found.item() == pytest.approx(
        hardest.sum().item() / (int(positive.sum()) * len(hardest) / len(each)), rel=1e-4)
    found.backward()


def test_rpn():
    """Two levels: in each the hardest 0.7 of its sampled anchors, and the levels' sums by what was sampled in all."""
    head = dense('RPNHead', dict(type='cxrdet.OHEMLoss', loss=dict(type='CrossEntropyLoss', use_sigmoid=True), keep=0.7,
                                 use_sigmoid=True))
    generator, avg_factor = torch.manual_seed(4), 12
    for anchors, sampled in ((64, 10), (16, 2), (4, 0)):
        scores = torch.randn(1, 1, anchors, 1, generator=generator)
        labels = torch.randint(0, 2, (1, anchors), generator=generator)
        weights = torch.zeros(1, anchors)
        weights[0, torch.randperm(anchors, generator=generator)[:sampled]] = 1
        boxes = torch.zeros(1, anchors, 4)
        found, _ = head.loss_by_feat_single(scores, torch.zeros(1, 4, anchors, 1), boxes, labels, weights, boxes, boxes,
                                            avg_factor=avg_factor)
        target = 1.0 - labels[0]  # of the one class of an RPN the label is 0; 1 is the background
        each = torch.nn.functional.binary_cross_entropy_with_logits(scores.flatten(), target, reduction='none')
        kept = math.ceil(0.7 * sampled)
        hardest = each[weights[0] > 0].sort(descending=True).values[:kept].sum().item()
        expected = hardest / (avg_factor * kept / sampled) if sampled else 0
        assert found.item() == pytest.approx(expected, rel=1e-5)


def test_around_the_focal_loss_the_head_still_reads_sigmoids():
    focal = dict(type='cxrdet.RoIFocalLoss', gamma=2.0, alpha=0.25)
    head, plain = build(dict(type='cxrdet.OHEMLoss', loss=focal, keep=0.5)), build(focal)
    scores, _ = head(torch.randn(6, 16, 2, 2))
    assert scores.shape == (6, 3) and plain.fc_cls.out_features == head.fc_cls.out_features
    labels = torch.tensor([0, 1, 2, 3, 3, 3])
    target = torch.nn.functional.one_hot(labels, 4)[:, :3].float()
    each = sigmoid_focal_loss(scores, target, alpha=0.25, gamma=2)
    half = each.flatten().sort(descending=True).values[:9].sum().item() / (3 / 2)  # by half of the three positives
    assert losses(head, scores, labels, torch.ones(6))['loss_cls'].item() == pytest.approx(half, rel=1e-5)
    assert head.loss_cls(scores, labels).item() == pytest.approx(half, rel=1e-5)
    torch.testing.assert_close(head.loss_cls.get_activation(scores)[:, :3], scores.sigmoid())
    with pytest.raises(AttributeError, match='has no attribute .tempered'):
        getattr(head.loss_cls, 'tempered')  # noqa: B009


@pytest.mark.parametrize('loss', [CROSS_ENTROPY, dict(type='mmdet.L1Loss')], ids=lambda loss: loss['type'])
def test_a_loss_without_wishes_leaves_the_head_as_it_is(loss):
    wrapped = MODELS.build(dict(type='cxrdet.OHEMLoss', loss=loss))
    for name in ('custom_cls_channels', 'custom_activation', 'custom_accuracy'):
        assert getattr(wrapped, name, False) == getattr(wrapped.loss, name, False)


@pytest.mark.parametrize('name', ['faster_rcnn_fpn_cell+ohem', 'faster_rcnn_fpn_bccd_ohem'])
def test_sampler_of_the_configs_takes_the_hardest(name):
    """Forty background regions, eight wanted: those whose loss is highest; a score is their first coordinate."""
    cfg = load_config(name).model.train_cfg.rcnn.sampler
    head = build(CROSS_ENTROPY)

    def forward(_, rois):
        return dict(cls_score=torch.stack([rois[:, 1], *[torch.zeros(len(rois))] * 3], 1) / 10)
    assert (cfg.type, cfg.pos_fraction) == ('OHEMSampler', 0.25) and cfg.num >= 128
    with DefaultScope.overwrite_default_scope('mmdet'):
        sampler = TASK_UTILS.build(dict(cfg, num=8), default_args=dict(context=SimpleNamespace(
            bbox_head=head, _bbox_forward=forward)))
    left = torch.randperm(40, generator=torch.manual_seed(3)).float()
    boxes = torch.stack([left, left, left + 9, left + 9], 1)
    assigned = SimpleNamespace(gt_inds=torch.zeros(40, dtype=torch.long), labels=torch.full((40, ), -1))
    chosen = sampler._sample_neg(assigned, 8, bboxes=boxes, feats=None)
    assert sorted(left[chosen].tolist()) == list(range(32, 40))
