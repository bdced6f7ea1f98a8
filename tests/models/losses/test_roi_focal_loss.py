import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from torchvision.ops import sigmoid_focal_loss

from cxrdet.registry import MODELS


@pytest.fixture(scope='module')
def loss():
    return MODELS.build(dict(type='cxrdet.RoIFocalLoss', gamma=2.0, alpha=0.25, loss_weight=1.0))


@pytest.mark.parametrize('regions', [1, 7])
def test_equals_torchvision(loss, regions):
    generator = torch.Generator().manual_seed(regions)
    logits = torch.randn(regions, 3, generator=generator)
    labels = torch.randint(0, 4, (regions,), generator=generator)  # 3 is background
    target = torch.nn.functional.one_hot(labels, 4)[:, :3].float()
    expected = sigmoid_focal_loss(logits, target, alpha=0.25, gamma=2, reduction='sum') / 5
    assert loss(logits, labels, torch.ones(regions), avg_factor=5).item() == pytest.approx(expected.item(), rel=1e-5)


def test_background_by_hand(loss):
    """One background region with logit 0 in each of two classes: 2 * 0.75 * 0.5^2 * ln 2."""
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
