"""Focal losses through ``mmcv.ops``: against torchvision, autograd of the paper's formula, by hand, and gradients."""
import math

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

TARGET = torch.tensor([0, 2, 1, 3, 2])  # of classes 0..2; 3 is background for the sigmoid loss


def logits(dtype=torch.float64, device='cpu') -> torch.Tensor:
    return (3 * torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).to(device, dtype)


def onehot(target: torch.Tensor, classes: int) -> torch.Tensor:
    return (target[:, None] == torch.arange(classes, device=target.device)).double()


def softmax_formula(x, target, gamma, alpha, weight=None):
    log_p = F.log_softmax(x, dim=1).gather(1, target[:, None])[:, 0]
    loss = -alpha * (1 - log_p.exp())**gamma * log_p
    return loss if weight is None else loss * weight[target]


@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
@pytest.mark.parametrize(('gamma', 'alpha'), [(2.0, 0.25), (0.0, 0.5), (1.5, 0.9)])
def test_sigmoid_equals_torchvision(ops, device, gamma, alpha, reduction):
    from torchvision.ops import sigmoid_focal_loss
    x, target = logits(device=device), TARGET.to(device)
    expected = sigmoid_focal_loss(x, onehot(target, 3), alpha, gamma)
    expected = {'none': expected, 'mean': expected.sum() / 5, 'sum': expected.sum()}[reduction]  # mmcv: mean over rows
    torch.testing.assert_close(ops.sigmoid_focal_loss(x, target, gamma, alpha, None, reduction), expected)


def test_sigmoid_by_hand(ops, device):
    """p = 1/2: the positive costs alpha / 4 * log 2, a negative (1 - alpha) / 4 * log 2."""
    x = torch.zeros(1, 2, device=device)
    result = ops.sigmoid_focal_loss(x, torch.tensor([1], device=device), 2.0, 0.25, None, 'none')
    assert result.tolist()[0] == pytest.approx([0.75 / 4 * math.log(2), 0.25 / 4 * math.log(2)])


def test_sigmoid_weight_is_that_of_the_target(ops, device):
    x, target, weight = logits(device=device), TARGET.to(device), torch.tensor([2., 3, 5], device=device).double()
    plain = ops.sigmoid_focal_loss(x, target, 2.0, 0.25, None, 'none')
    factor = torch.tensor([2., 5, 3, 1, 5], device=device).double()[:, None]  # background weighs 1
    torch.testing.assert_close(ops.sigmoid_focal_loss(x, target, 2.0, 0.25, weight, 'none'), plain * factor)


def test_sigmoid_of_large_logits(ops, device):
    """A confident wrong answer costs its logit, a confident right one nothing; slopes are 1 - alpha and -alpha."""
    x = torch.tensor([[200.0, -200.0], [20.0, 40.0]], device=device, requires_grad=True)
    result = ops.sigmoid_focal_loss(x, torch.tensor([1, 1], device=device), 2.0, 0.25, None, 'none')
    assert result.flatten().tolist() == pytest.approx([0.75 * 200, 0.25 * 200, 0.75 * 20, 0], rel=1e-5)
    result.sum().backward()
    assert x.grad.flatten().tolist() == pytest.approx([0.75, -0.25, 0.75, 0], rel=1e-4)


@pytest.mark.parametrize('gamma', [0.0, 1.0, 2.0])
@pytest.mark.parametrize('weighted', [False, True])
def test_sigmoid_gradient(ops, device, gamma, weighted):
    weight = torch.tensor([2., 3, 5], device=device).double() if weighted else None
    target = TARGET.to(device)
    for reduction in ('none', 'mean'):
        assert gradcheck(lambda x: ops.sigmoid_focal_loss(x, target, gamma, 0.3, weight, reduction),  # noqa: B023
                         (logits(device=device).requires_grad_(),))


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_softmax_equals_the_formula(ops, device, gamma, weighted, reduction):
    target, weight = TARGET.clamp(max=2).to(device), torch.tensor([2., 3, 5], device=device).double()
    weight = weight if weighted else None
    x, y = (logits(device=device).requires_grad_() for _ in range(2))
    result = ops.softmax_focal_loss(x, target, gamma, 0.3, weight, reduction)
    expected = softmax_formula(y, target, gamma, 0.3, weight)
    expected = expected.sum() / (5 if reduction == 'mean' else 1)
    torch.testing.assert_close(result, expected)
    result.backward()
    expected.backward()
    torch.testing.assert_close(x.grad, y.grad)


def test_softmax_gradient(ops, device):
    target = TARGET.clamp(max=2).to(device)
    assert gradcheck(lambda x: ops.softmax_focal_loss(x, target, 2.0, 0.25, None, 'sum'),
                     (logits(device=device).requires_grad_(),))


def test_softmax_by_hand(ops, device):
    """Three equal logits: p = 1/3, loss = alpha * (2/3)^2 * log 3. A negative target costs nothing."""
    x = torch.zeros(2, 3, device=device, requires_grad=True)
    result = ops.softmax_focal_loss(x, torch.tensor([1, -1], device=device), 2.0, 0.25, None, 'none')
    assert result.tolist() == pytest.approx([0.25 * 4 / 9 * math.log(3), 0])
    ops.softmax_focal_loss(x, torch.tensor([1, -1], device=device), 2.0, 0.25, None, 'sum').backward()
    assert x.grad[1].tolist() == [0, 0, 0]
    assert x.grad[0].sum().item() == pytest.approx(0, abs=1e-7)
    assert x.grad[0, 1] < 0


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_softmax_of_certain_rows_stays_finite(ops, device, gamma):
    x = torch.tensor([[200.0, 0, 0], [0, 200.0, 0]], device=device, requires_grad=True)
    result = ops.softmax_focal_loss(x, torch.tensor([0, 0], device=device), gamma, 0.25, None, 'sum')
    result.backward()
    assert result.isfinite()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize('name', ['sigmoid_focal_loss', 'softmax_focal_loss'])
def test_no_rows(ops, device, name):
    x = torch.zeros(0, 3, device=device, requires_grad=True)
    result = getattr(ops, name)(x, torch.zeros(0, dtype=torch.long, device=device), 2.0, 0.25, None, 'sum')
    result.backward()
    assert result == 0
    assert x.grad.shape == (0, 3)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('name', ['sigmoid_focal_loss', 'softmax_focal_loss'])
def test_reduced_precision(ops, device, name, dtype):
    reduced, target = logits(dtype, device).requires_grad_(), TARGET.clamp(max=2).to(device)
    exact = reduced.detach().float().requires_grad_()
    result, expected = (getattr(ops, name)(x, target, 2.0, 0.25, None, 'sum') for x in (reduced, exact))
    assert result.dtype == dtype
    torch.testing.assert_close(result.float(), expected, rtol=2e-2, atol=2e-2)
    result.backward()
    expected.backward()
    torch.testing.assert_close(reduced.grad.float(), exact.grad, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize('name', ['SigmoidFocalLoss', 'SoftmaxFocalLoss'])
def test_module(ops, device, name):
    loss = getattr(ops, name)(2.0, 0.25).to(device)
    assert loss(logits(torch.float32, device), TARGET.clamp(max=2).to(device)) > 0
