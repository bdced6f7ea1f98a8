"""Masked losses against sums by hand in float64, torch and torchvision; gradients by finite differences."""
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.ops import sigmoid_focal_loss

from cxrdet.core.errors import ConfigError
from cxrdet.registry import MODELS

NAN = float('nan')
KINDS = ['MaskedBCELoss', 'MaskedFocalLoss', 'MaskedAsymmetricLoss']


def build(kind, **kwargs):
    return MODELS.build(dict(type=f'cxrdet.{kind}', **kwargs))


def batch(n=6, c=4, dtype=torch.float64, unknown=0.3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, c, generator=generator, dtype=dtype)
    labels = torch.randint(0, 2, (n, c), generator=generator).to(dtype)
    labels[torch.rand(n, c, generator=generator) < unknown] = NAN
    return logits, labels


def slow(kind, x, t, gamma=2.0, alpha=0.25, gamma_neg=4.0, clip=0.05):
    """One element from the papers' equations."""
    p = 1 / (1 + math.exp(-x))
    if kind == 'MaskedBCELoss':
        return -math.log(p) if t else -math.log(1 - p)
    if kind == 'MaskedFocalLoss':
        return -alpha * (1 - p) ** gamma * math.log(p) if t else -(1 - alpha) * p ** gamma * math.log(1 - p)
    shifted = max(p - clip, 0)
    return -math.log(p) if t else -shifted ** gamma_neg * math.log(1 - shifted)


@pytest.mark.parametrize('weights', [None, [0.5, 1.0, 3.0, 10.0]], ids=['plain', 'pos_weight'])
@pytest.mark.parametrize('smoothing', [0.0, 0.2])
@pytest.mark.parametrize('kind', KINDS)
def test_by_hand(kind, smoothing, weights):
    logits, labels = batch()
    terms = []
    for (_, column), x, t in zip(np.ndindex(*logits.shape), logits.flatten().tolist(), labels.flatten().tolist()):
        if not math.isnan(t):
            factor = 1.0 if weights is None else weights[column]
            by_label = {1: factor * slow(kind, x, 1), 0: slow(kind, x, 0)}
            terms.append((1 - smoothing / 2) * by_label[int(t)] + smoothing / 2 * by_label[1 - int(t)])
    loss = build(kind, pos_weight=weights, smoothing=smoothing, loss_weight=2.0)
    assert loss(logits, labels).item() == pytest.approx(2 * np.mean(terms), rel=1e-6)


def test_equals_torch_and_torchvision_where_all_is_known():
    logits, labels = batch(unknown=0)
    weights = torch.tensor([0.5, 1.0, 3.0, 10.0], dtype=torch.float64)
    soft = labels * 0.9 + 0.05
    torch.testing.assert_close(build('MaskedBCELoss', pos_weight=weights, smoothing=0.1)(logits, labels),
                               binary_cross_entropy_with_logits(logits, soft, pos_weight=weights))
    torch.testing.assert_close(build('MaskedFocalLoss')(logits, labels),
                               sigmoid_focal_loss(logits, labels, alpha=0.25, gamma=2, reduction='mean'))
    torch.testing.assert_close(build('MaskedFocalLoss', alpha=0.7, gamma=1.5, reduction='sum')(logits, labels),
                               sigmoid_focal_loss(logits, labels, alpha=0.7, gamma=1.5, reduction='sum'))


def test_negatives_are_weighted_by_their_own_probability():
    """An easy negative (p = 0.1) counts (0.1 / 0.9)^2 as much as a hard one (p = 0.9), apart from its logarithm."""
    easy, hard = (build('MaskedFocalLoss')(torch.logit(torch.tensor([[p]])), torch.zeros(1, 1)).item()
                  for p in (0.1, 0.9))
    assert easy / hard == pytest.approx((0.1 / 0.9) ** 2 * math.log(0.9) / math.log(0.1), rel=1e-4)


@pytest.mark.parametrize('kind', KINDS)
def test_unknown_labels_have_no_influence(kind):
    logits, labels = batch()
    unknown = labels.isnan()
    loss = build(kind)
    known_only = loss(logits[~unknown][None], labels[~unknown][None])
    logits[unknown] = torch.tensor([math.inf, -math.inf, NAN, 1e6] * 6, dtype=logits.dtype)[:int(unknown.sum())]
    logits.requires_grad_()
    value = loss(logits, labels)
    value.backward()
    assert value.item() == pytest.approx(known_only.item(), rel=1e-9)
    assert (logits.grad[unknown] == 0).all()
    assert torch.isfinite(logits.grad).all()
    assert (loss(logits, labels, reduction_override='none')[unknown] == 0).all()


@pytest.mark.parametrize('shape', [(3, 2), (0, 2)], ids=['all unknown', 'empty'])
@pytest.mark.parametrize('kind', KINDS)
def test_nothing_known(kind, shape):
    logits = torch.randn(*shape, requires_grad=True)
    value = build(kind, smoothing=0.1, pos_weight=2.0)(logits, torch.full(shape, NAN))
    value.backward()
    assert value.item() == 0
    assert logits.grad.shape == shape and (logits.grad == 0).all()


@pytest.mark.parametrize('kind', KINDS)
def test_gradient_by_finite_differences(kind):
    logits, labels = batch(n=3, c=3)
    loss = build(kind, smoothing=0.1, pos_weight=[1.0, 2.0, 0.5])
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), logits.requires_grad_(), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize('kind', KINDS)
def test_bfloat16_is_summed_in_float32(kind):
    logits, labels = batch(dtype=torch.float32)
    low = logits.to(torch.bfloat16).requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = build(kind)(low, labels)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(build(kind)(low.float(), labels).item(), rel=1e-6)
    value.backward()
    assert low.grad.dtype == torch.bfloat16 and torch.isfinite(low.grad).all()


@pytest.mark.parametrize('kind', KINDS)
def test_confident_mistakes_stay_finite(kind):
    logits = torch.tensor([[60.0, -60.0]], requires_grad=True)
    value = build(kind)(logits, torch.tensor([[0.0, 1.0]]))
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(logits.grad).all() and value > 1


def test_weights_of_elements_and_reductions():
    logits, labels = batch(n=2, c=2, unknown=0)
    labels[0, 1] = NAN
    loss = build('MaskedBCELoss')
    each = loss(logits, labels, reduction_override='none')
    assert each.shape == (2, 2) and each[0, 1] == 0
    weights = torch.tensor([2.0, 0.0], dtype=torch.float64)
    assert loss(logits, labels, weights).item() == pytest.approx(2 * each[0, 0].item() / 3)
    assert loss(logits, labels, torch.full((2, 2), 0.5)).item() == pytest.approx(0.5 * each.sum().item() / 3)
    assert loss(logits, labels, avg_factor=2).item() == pytest.approx(each.sum().item() / 2)
    assert loss(logits, labels, reduction_override='sum').item() == pytest.approx(each.sum().item())


def test_positive_weight_can_be_set_later_and_is_not_stored():
    loss = build('MaskedBCELoss')
    loss.pos_weight = torch.tensor([1.0, 4.0])
    assert loss(torch.zeros(1, 2), torch.ones(1, 2)).item() == pytest.approx(2.5 * math.log(2))
    assert not loss.state_dict()
    with pytest.raises(ValueError, match='2 positive weights for 3 classes'):
        loss(torch.zeros(1, 3), torch.ones(1, 3))


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r'MaskedFocalLoss: the scores are \(2, 3\), the labels \(2,\)'):
        build('MaskedFocalLoss')(torch.zeros(2, 3), torch.zeros(2))


@pytest.mark.parametrize(('kind', 'kwargs', 'text'), [
    ('MaskedBCELoss', dict(smoothing=1.5), r'smoothing must lie in \[0, 1\], got 1\.5'),
    ('MaskedBCELoss', dict(reduction='avg'), 'reduction must be one of mean, sum, none, got "avg"'),
    ('MaskedBCELoss', dict(pos_weight=[1.0, 0.0]), 'pos_weight must be above 0'),
    ('MaskedFocalLoss', dict(alpha=2.0), r'alpha must lie in \[0, 1\]'),
    ('MaskedAsymmetricLoss', dict(clip=1.0), r'clip must lie in \[0, 1\)'),
])
def test_wrong_arguments(kind, kwargs, text):
    with pytest.raises(ConfigError, match=text):
        build(kind, **kwargs)
