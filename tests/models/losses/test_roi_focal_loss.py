import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torchvision.ops import sigmoid_focal_loss

from cxrdet.core.errors import ConfigError
from cxrdet.core.recipes import find_config
from cxrdet.registry import MODELS


@pytest.fixture(scope='module')
def loss():
    return MODELS.build(dict(type='cxrdet.RoIFocalLoss', gamma=2.0, alpha=0.25, loss_weight=1.0))


@pytest.mark.parametrize(('normalizer', 'divisor'), [('positives', 3), ('regions', 5)])
@pytest.mark.parametrize('ignored', [0, 2])
def test_equals_torchvision(normalizer, divisor, ignored):
    """Seven regions, three of a class, and some more of weight 0, which count for nothing; 3 is the background."""
    loss = MODELS.build(dict(type='cxrdet.RoIFocalLoss', normalizer=normalizer))
    labels = torch.tensor([3, 0, 3, 2, 3, 0, 3] + [1] * ignored)
    logits = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(ignored))
    target = torch.nn.functional.one_hot(labels, 4)[:, :3].float()
    expected = sigmoid_focal_loss(logits[:7], target[:7], alpha=0.25, gamma=2, reduction='sum') / divisor
    weight = torch.cat([torch.ones(7), torch.zeros(ignored)])
    assert loss(logits, labels, weight, avg_factor=5).item() == pytest.approx(expected.item(), rel=1e-5)
    assert loss(logits, target, weight, avg_factor=5).item() == pytest.approx(expected.item(), rel=1e-5)


def test_reductions_other_than_the_mean(loss):
    logits, labels = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 3, 3, 1])
    target = torch.nn.functional.one_hot(labels, 4)[:, :3].float()
    expected = sigmoid_focal_loss(logits, target, alpha=0.25, gamma=2)
    torch.testing.assert_close(loss(logits, labels, avg_factor=9, reduction_override='none'), expected)
    torch.testing.assert_close(loss(logits, labels, reduction_override='sum'), expected.sum())


def test_unknown_normalizer():
    with pytest.raises(ConfigError, match='normalizer must be one of positives, regions, got "all"'):
        MODELS.build(dict(type='cxrdet.RoIFocalLoss', normalizer='all'))


def test_background_by_hand(loss):
    """One background region with logit 0 in each of two classes, no positive: 2 * 0.75 * 0.5^2 * ln 2, by 1."""
    value = loss(torch.zeros(1, 2), torch.tensor([2]), torch.ones(1), avg_factor=1)
    assert value.item() == pytest.approx(2 * 0.75 * 0.25 * np.log(2), rel=1e-5)


def test_scores_are_the_sigmoid(loss):
    scores = loss.get_activation(torch.tensor([[0.0, 100.0, -100.0]]))
    np.testing.assert_allclose(scores.numpy(), [[0.5, 1.0, 0.0, 0.0]], atol=1e-6)
    assert loss.get_activation(torch.zeros(0, 3)).shape == (0, 4)


def test_accuracy_leaves_background_out(loss):
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 0.0]])
    assert loss.get_accuracy(logits, torch.tensor([0, 1, 2]))['acc_classes'].item() == 50
    assert loss.get_accuracy(logits, torch.tensor([2, 2, 2]))['acc_classes'].item() == 0


def test_head_predicts_one_score_a_class():
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = MODELS.build(dict(
            type='mmdet.Shared2FCBBoxHead', in_channels=4, fc_out_channels=8, roi_feat_size=2, num_classes=3,
            loss_cls=dict(type='cxrdet.RoIFocalLoss')))
    scores, deltas = head(torch.zeros(5, 4, 2, 2))
    assert scores.shape == (5, 3) and deltas.shape == (5, 12)


@pytest.mark.parametrize('name', ['bifpn_focal_giou_cell', 'fpn_bccd_focal_giou'])
def test_head_of_the_configs(name):
    """Scores start at 0.01; the class loss is the sum over positives, and the parts weigh 1, 1.5 and 0.5."""
    cfg = Config.fromfile(find_config(f'faster_rcnn_{name}')).model
    assert cfg.rpn_head.loss_cls.loss_weight == 0.5
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = MODELS.build(dict(cfg.roi_head.bbox_head, num_classes=3, in_channels=4, roi_feat_size=2))
    head.init_weights()
    assert type(head.loss_bbox).__name__ == 'GIoULoss' and head.loss_bbox.loss_weight == 1.5
    assert head.loss_cls.loss_weight == 1 and head.fc_cls.weight.std().item() == pytest.approx(0.01, rel=0.2)
    scores, deltas = head(torch.randn(8, 4, 2, 2, generator=torch.Generator().manual_seed(0)))
    np.testing.assert_allclose(scores.sigmoid().detach().numpy(), 0.01, rtol=1)
    np.testing.assert_allclose(head.fc_cls.bias.sigmoid().detach().numpy(), 0.01, rtol=1e-5)
    labels = torch.tensor([2, 3, 3, 3, 3, 0, 3, 3])
    target = torch.nn.functional.one_hot(labels, 4)[:, :3].float()
    losses = head.loss(scores, None, None, labels, torch.ones(8), None, None)
    expected = sigmoid_focal_loss(scores, target, alpha=0.25, gamma=2, reduction='sum') / 2
    assert losses['loss_cls'].item() == pytest.approx(expected.item(), rel=1e-5)
