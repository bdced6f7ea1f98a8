"""Hard examples against a sort by hand."""
import numpy as np
import pytest
import torch

from cxrdet.core.errors import ConfigError
from cxrdet.registry import MODELS

NAN = float('nan')
BCE = dict(type='cxrdet.MaskedBCELoss')


def build(keep=0.7, loss=BCE, **kwargs):
    return MODELS.build(dict(type='cxrdet.OHEMLoss', loss=dict(loss), keep=keep, **kwargs))


def batch(n=5, c=4, unknown=True):
    generator = torch.Generator().manual_seed(4)
    logits = 2 * torch.randn(n, c, generator=generator)
    labels = torch.randint(0, 2, (n, c), generator=generator).float()
    if unknown:
        labels[0] = NAN
        labels[1, 2] = labels[3, 0] = NAN
    return logits, labels


def elements(logits, labels):
    x, t = logits.double().numpy(), labels.double().numpy()
    return np.logaddexp(0, x) - x * t


@pytest.mark.parametrize('keep', [0.05, 0.1, 0.5, 0.7, 1.0])
def test_hardest_elements(keep):
    """14 of 20 labels are known: 1, 2, 7, 10 and 14 of them are kept."""
    logits, labels = batch()
    losses = elements(logits, labels)
    known = np.sort(losses[~np.isnan(losses)])[::-1]
    assert len(known) == 14
    count = {0.05: 1, 0.1: 2, 0.5: 7, 0.7: 10, 1.0: 14}[keep]
    logits.requires_grad_()
    value = build(keep)(logits, labels)
    assert value.item() == pytest.approx(known[:count].mean(), rel=1e-5)
    value.backward()
    assert int((logits.grad != 0).sum()) == count


@pytest.mark.parametrize(('n', 'count'), [(10, 7), (30, 21), (3, 3), (1, 1)])
def test_count_is_rounded_up_and_not_by_rounding_errors(n, count):
    each = build(0.7)(torch.randn(n, 1), torch.zeros(n, 1), reduction_override='none')
    assert int((each > 0).sum()) == count


def test_hardest_samples():
    """Four samples have known labels; ceil(0.5 * 4) = 2 are kept whole, their unknown labels left out."""
    logits, labels = batch()
    losses = elements(logits, labels)
    means = [-np.inf, *(np.nanmean(row) for row in losses[1:])]
    chosen = np.argsort(means)[::-1][:2]
    assert build(0.5, over='samples')(logits, labels).item() == pytest.approx(np.nanmean(losses[chosen]), rel=1e-5)


@pytest.mark.parametrize('over', ['elements', 'samples'])
@pytest.mark.parametrize('loss', [BCE, dict(type='cxrdet.MaskedFocalLoss'), dict(type='cxrdet.MaskedAsymmetricLoss')],
                         ids=lambda loss: loss['type'])
def test_all_kept_is_the_loss_itself(loss, over):
    logits, labels = batch()
    torch.testing.assert_close(build(1.0, loss, over=over)(logits, labels), MODELS.build(dict(loss))(logits, labels))


@pytest.mark.parametrize('over', ['elements', 'samples'])
def test_nothing_known(over):
    logits = torch.randn(3, 2, requires_grad=True)
    value = build(over=over)(logits, torch.full((3, 2), NAN))
    value.backward()
    assert value.item() == 0 and (logits.grad == 0).all()
    assert build(over=over)(torch.zeros(0, 2), torch.zeros(0, 2)).item() == 0


@pytest.mark.parametrize('scope', ['mmdet', 'mmpretrain'])
def test_softmax_losses_of_the_hosts(scope):
    """One element a sample; samples of weight 0 are no candidates; avg_factor stands for all candidates."""
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(5))
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    weight = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0, 0.0])
    loss = build(0.5, dict(type=f'{scope}.CrossEntropyLoss'))
    each = -logits.log_softmax(1)[range(6), labels]
    hardest = each[weight > 0].sort(descending=True).values[:2]
    assert loss(logits, labels, weight).item() == pytest.approx(hardest.mean().item(), rel=1e-5)
    assert loss(logits, labels, weight, avg_factor=4).item() == pytest.approx(hardest.mean().item(), rel=1e-5)
    assert loss(logits, labels, weight, avg_factor=8).item() == pytest.approx(hardest.mean().item() / 2, rel=1e-5)


def test_focal_loss_of_mmpretrain():
    logits, labels = batch(unknown=False)
    kind = dict(type='mmpretrain.FocalLoss')
    each = MODELS.build(dict(kind))(logits, labels, reduction_override='none').flatten().sort(descending=True).values
    assert build(0.7, kind)(logits, labels).item() == pytest.approx(each[:14].mean().item(), rel=1e-5)


def test_gradient_by_finite_differences():
    logits, labels = batch()
    loss = build(0.5)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels.double()), logits.double().requires_grad_(), eps=1e-6)


@pytest.mark.parametrize(('kwargs', 'text'), [
    (dict(keep=0.0), r'keep must lie in \(0, 1\], got 0.0'),
    (dict(keep=70), 'got 70'),
    (dict(over='classes'), 'elements, samples, got "classes"'),
    (dict(loss=dict(type='mmdet.FocalLoss'), use_sigmoid=False), '=False, but the wrapped FocalLoss has .*True'),
    (dict(loss=dict(type='mmdet.CrossEntropyLoss'), use_sigmoid=True), 'but the wrapped CrossEntropyLoss has .*False'),
])
def test_wrong_arguments(kwargs, text):
    with pytest.raises(ConfigError, match=text):
        build(**kwargs)
