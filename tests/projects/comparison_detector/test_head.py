"""ComparisonBBoxHead: logits against loops, what permutes, what has a gradient, what is refused."""
import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict

from cxrdet.core.errors import ConfigError
from projects.comparison_detector.comparison_detector.head import ComparisonBBoxHead

NMS = ConfigDict(score_thr=0.0, nms=dict(type='nms', iou_threshold=0.9), max_per_img=100)


def head_of(classes=3, **options):
    torch.manual_seed(0)
    head = ComparisonBBoxHead(**dict(in_channels=4, num_classes=classes, roi_feat_size=3, fc_out_channels=8) | options)
    with torch.no_grad():
        head.fc_cls.prototypes.normal_()
    return head


def slow_logits(comparison, features):
    """float64, one region and one prototype at a time; the background by its definition."""
    part = {name: value.detach().double() for name, value in comparison.state_dict().items()}
    prototypes = part['prototypes'].unflatten(0, (comparison.num_classes, -1)).numpy()
    mean = prototypes.mean(axis=1)
    if comparison.background == 'free':
        background = part['background_prototype'][0].numpy()
    else:
        stack = mean.reshape(-1, *mean.shape[2:]) if comparison.background == 'stacked' else mean.mean(axis=0)
        kernel, bias = part['background_conv.weight'].numpy(), part['background_conv.bias'].numpy()
        padded = np.pad(stack, ((0, 0), (1, 1), (1, 1)))
        background = np.zeros(mean.shape[1:])
        for o, y, x in np.ndindex(*background.shape):
            background[o, y, x] = bias[o] + (kernel[o] * padded[:, y:y + 3, x:x + 3]).sum()

    def score(f, p):
        if comparison.metric == 'cosine':
            return (f * p).sum() / np.sqrt((f ** 2).sum() * (p ** 2).sum()) / comparison.temperature
        weight = part['scale'].numpy() / (9 * 2)  # nine positions, the root of four channels
        return (weight * (f - p) ** 2).sum()
    merge = max if comparison.merge == 'max' else np.mean
    return np.array([[*(merge([score(f, p) for p in own]) for own in prototypes), score(f, background)]
                     for f in features.double().numpy()])


@pytest.mark.parametrize('metric', ['learned', 'cosine'])
@pytest.mark.parametrize('background', ['stacked', 'mean', 'free'])
@pytest.mark.parametrize('per_image, merge', [(0, 'max'), (2, 'max'), (2, 'mean')])
def test_logits(metric, background, per_image, merge):
    head = head_of(metric=metric, background=background, per_image=per_image, merge=merge)
    features = torch.randn(5, 4, 3, 3)
    logits, boxes = head(features)
    assert logits.shape == (5, 4) and boxes.shape == (5, 12)
    np.testing.assert_allclose(logits.detach(), slow_logits(head.fc_cls, features), rtol=1e-4, atol=1e-5)
    nearest = 1 - 0.05 * logits[:, :3].amax(dim=1) if metric == 'cosine' else -logits[:, :3].amax(dim=1)
    torch.testing.assert_close(head.fc_cls.distances(logits), nearest)


def test_logits_have_both_signs():
    head = head_of()
    with torch.no_grad():
        head.fc_cls.scale[0] = 3.
    logits = head(torch.randn(50, 4, 3, 3))[0]
    assert (logits > 0).any() and (logits < 0).any()


@pytest.mark.parametrize('background', ['mean', 'free'])
def test_exchanged_prototypes_exchange_classes(background):
    head, features, order = head_of(background=background), torch.randn(6, 4, 3, 3), [2, 0, 1]
    before = head(features)[0]
    with torch.no_grad():
        head.fc_cls.prototypes.copy_(head.fc_cls.prototypes[order])
    torch.testing.assert_close(head(features)[0], before[:, [*order, 3]])


def test_the_stacked_background_knows_the_order_of_classes_and_these_do_not():
    head, features, order = head_of(background='stacked'), torch.randn(6, 4, 3, 3), [2, 0, 1]
    before = head(features)[0]
    with torch.no_grad():
        head.fc_cls.prototypes.copy_(head.fc_cls.prototypes[order])
    torch.testing.assert_close(head(features)[0][:, :3], before[:, order])


@pytest.mark.parametrize('regions', [0, 5])
def test_one_class(regions):
    head = head_of(classes=1)
    logits, boxes = head(torch.randn(regions, 4, 3, 3))
    assert logits.shape == (regions, 2) and boxes.shape == (regions, 4)


def test_a_class_without_regions_has_a_finite_loss_and_is_pushed_away():
    head = head_of()
    prototypes = torch.randn(3, 1, 4, 3, 3, requires_grad=True)
    with head.fc_cls.using(prototypes):
        logits, boxes = head(torch.randn(6, 4, 3, 3))
    labels = torch.tensor([0, 0, 1, 3, 3, 3])  # none of class 2
    losses = head.loss(logits, boxes, torch.zeros(6, 5), labels, torch.ones(6), torch.zeros(6, 4), torch.zeros(6, 4))
    losses['loss_cls'].backward()
    assert torch.isfinite(prototypes.grad).all()
    assert (prototypes.grad.flatten(1).abs().amax(dim=1) > 0).all()
    torch.testing.assert_close(head.fc_cls(torch.zeros(1, 36)), head.fc_cls(torch.zeros(1, 36)))  # not in use any more


@pytest.mark.parametrize('metric', ['learned', 'cosine'])
def test_half_precision(metric):
    head, features = head_of(metric=metric), torch.randn(5, 4, 3, 3)
    exact = head(features)[0]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        mixed = head(features)[0]
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, exact, rtol=2e-2, atol=0.2)  # the background's convolution is in bfloat16
    whole = head.bfloat16().fc_cls(features.bfloat16())
    assert whole.dtype == torch.float32 and torch.isfinite(whole).all()


def test_learned_prototypes_are_weights():
    head = head_of(metric='cosine', background='free', learned=True)
    head(torch.randn(2, 4, 3, 3))[0].sum().backward()
    assert head.fc_cls.prototypes.grad.abs().sum() > 0
    assert 'fc_cls.prototypes' in dict(head.named_parameters())
    assert 'fc_cls.prototypes' in dict(head_of().named_buffers())


@pytest.mark.parametrize('agnostic', [True, False])
def test_predicted_boxes_carry_their_own_distance(agnostic):
    head = head_of(reg_class_agnostic=agnostic)
    regions = torch.tensor([[0., 0, 0, 10, 10], [0, 20, 20, 40, 40], [0, 50, 0, 60, 30]])
    logits, boxes = head(torch.randn(3, 4, 3, 3))
    meta = dict(img_shape=(64, 64), scale_factor=(1., 1.))
    found = head._predict_by_feat_single(regions, logits, torch.zeros_like(boxes), meta, rcnn_test_cfg=NMS)
    assert len(found) == 9 and set(found.keys()) == {'bboxes', 'scores', 'labels', 'unknown_scores'}
    corner = {tuple(region[1:].tolist()): i for i, region in enumerate(regions)}
    rows = [corner[tuple(box.tolist())] for box in found.bboxes]
    torch.testing.assert_close(found.unknown_scores, head.fc_cls.distances(logits)[rows].detach())
    torch.testing.assert_close(found.scores, logits.softmax(dim=1)[rows, found.labels])
    nothing = head._predict_by_feat_single(regions[:0], logits[:0], boxes[:0], meta, rcnn_test_cfg=NMS)
    assert len(nothing) == 0 and len(nothing.unknown_scores) == 0


@pytest.mark.parametrize('options, name', [
    (dict(metric='cosin'), 'metric'), (dict(background='x'), 'background'), (dict(merge='min'), 'merge'),
    (dict(temperature=0), 'temperature'), (dict(per_image=-1), 'per_image'),
    (dict(loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True)), 'use_sigmoid')])
def test_wrong_arguments(options, name):
    with pytest.raises(ConfigError, match=name):
        head_of(**options)
