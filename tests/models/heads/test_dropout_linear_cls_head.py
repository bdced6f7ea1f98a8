"""The single-label head with dropout against MMPretrain's head without."""
import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.structures import DataSample

from cxrdet.models.heads import DropoutLinearClsHead
from cxrdet.registry import MODELS


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


def test_eval_is_the_plain_head():
    head = MODELS.build({'type': 'cxrdet.DropoutLinearClsHead', 'num_classes': 3, 'in_channels': 8, 'topk': (1, 2)})
    plain = LinearClsHead(3, 8)
    plain.load_state_dict(head.state_dict())  # the same keys: dropout has none
    feats = (torch.randn(4, 2), torch.randn(4, 8))
    torch.testing.assert_close(head.eval()(feats), plain(feats))
    assert head.topk == (1, 2)


def test_training_zeroes_a_share_of_the_features_and_scales_the_rest():
    torch.manual_seed(0)
    head = DropoutLinearClsHead(2, 10000, dropout=0.2).train()
    feats = head.pre_logits((torch.ones(1, 10000),))
    assert set(feats.unique().tolist()) == {0., 1.25}
    assert (feats == 0).float().mean().item() == pytest.approx(0.2, abs=0.02)  # five standard deviations


def test_dropout_is_a_tenth_by_default():
    assert DropoutLinearClsHead(2, 4).dropout.p == 0.1


@pytest.mark.parametrize('mixed', [False, True])
def test_training_accuracy_is_the_share_of_right_classes(mixed):
    """Of four images three are right; an image mixed of two classes counts as the one that has more of it."""
    head, logits = DropoutLinearClsHead(3, 3, dropout=0), torch.tensor([[2., 0, 1], [0, 3, 1], [0, 1, 2], [5, 4, 0]])
    torch.nn.init.eye_(head.fc.weight)
    torch.nn.init.zeros_(head.fc.bias)
    scores = ([.7, .3, 0], [.2, .8, 0], [.1, .3, .6], [0, .6, .4])
    samples = [DataSample().set_gt_score(torch.tensor(row)) if mixed else DataSample().set_gt_label(label)
               for row, label in zip(scores, (0, 1, 2, 1), strict=True)]
    assert head.loss((logits,), samples)['accuracy'].item() == 0.75
    assert set(head.eval().loss((logits,), samples)) == {'loss'}


def test_empty_batch():
    assert DropoutLinearClsHead(2, 4)((torch.zeros(0, 4),)).shape == (0, 2)


@pytest.mark.parametrize('dropout', [-0.1, 1.])
def test_bad_dropout(dropout):
    with pytest.raises(ValueError, match=rf'dropout must lie in \[0, 1\), got {dropout}'):
        DropoutLinearClsHead(2, 4, dropout=dropout)
