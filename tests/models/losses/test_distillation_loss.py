"""Distillation losses against torch's kl_div, closed-form gradients and sums written out."""
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

import cxrdet  # noqa: F401
from cxrdet.core.errors import ConfigError
from cxrdet.models.losses.distillation_loss import correlation_distance, sigmoid_kl, softmax_kl
from cxrdet.registry import MODELS


def logits(*shape, seed=0):
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(**arguments):
    return MODELS.build(dict(type='cxrdet.DistillationLoss', **arguments))


def test_hand_made_case():
    """Two classes, T = 2: p_t = (3/4, 1/4), p_s = (1/2, 1/2); KL = 3/4 log 3/2 + 1/4 log 1/2, times 4."""
    student, teacher = torch.tensor([[1.0, 1.0]], requires_grad=True), torch.tensor([[2 * math.log(3), 0.0]])
    loss = build(temperature=2.0)(student, teacher)
    assert loss.item() == pytest.approx(4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5)), rel=1e-6)
    loss.backward()
    assert student.grad.tolist() == [pytest.approx([2 * (0.5 - 0.75), 2 * (0.5 - 0.25)], rel=1e-6)]  # T (p_s - p_t)
    turned = build(temperature=2.0)(teacher, torch.tensor([[1.0, 1.0]]))  # KL is not symmetric
    assert turned.item() == pytest.approx(4 * (0.5 * math.log(2 / 3) + 0.5 * math.log(2)), rel=1e-6)
    assert abs(turned.item() - loss.item()) > 0.05


@pytest.mark.parametrize('temperature', [1.0, 3.0, 10.0])
def test_equals_kl_div_of_torch(temperature):
    student, teacher = logits(7, 5).requires_grad_(), logits(7, 5, seed=1)
    loss = build(temperature=temperature)(student, teacher)
    expected = temperature**2 * functional.kl_div((student / temperature).log_softmax(-1),
                                                  (teacher / temperature).softmax(-1), reduction='batchmean')
    torch.testing.assert_close(loss, expected)
    gradient, = torch.autograd.grad(loss, student)
    closed = temperature * ((student / temperature).softmax(-1) - (teacher / temperature).softmax(-1)) / 7
    torch.testing.assert_close(gradient, closed, rtol=1e-4, atol=1e-6)


def test_sigmoid_is_a_softmax_over_yes_and_no():
    student, teacher = logits(6, 4).requires_grad_(), logits(6, 4, seed=1)
    found = sigmoid_kl(student, teacher, 3.0)

    def two(values):
        return torch.stack([values, torch.zeros_like(values)], -1)
    torch.testing.assert_close(found, softmax_kl(two(student), two(teacher), 3.0), rtol=1e-4, atol=1e-5)
    loss = build(use_sigmoid=True)(student, teacher)
    torch.testing.assert_close(loss, found.sum() / 6)
    gradient, = torch.autograd.grad(loss, student)
    torch.testing.assert_close(gradient, 3 * ((student / 3).sigmoid() - (teacher / 3).sigmoid()) / 6, rtol=1e-4,
                               atol=1e-6)


@pytest.mark.parametrize('use_sigmoid', [False, True])
def test_zero_where_both_agree_and_above_elsewhere(use_sigmoid):
    loss = build(use_sigmoid=use_sigmoid)
    student = logits(50, 4)
    assert loss(student, student).item() == pytest.approx(0, abs=1e-6)
    if not use_sigmoid:
        assert loss(student, student + 5).item() == pytest.approx(0, abs=1e-5)  # a softmax knows no common offset
    assert loss(student, logits(50, 4, seed=1)).item() > 1


def test_size_of_the_gradient_hardly_hangs_on_the_temperature():
    """What T^2 is for: at high T the gradient tends to (z_s - z_t) / C for logits of mean 0, whatever T."""
    teacher = logits(1, 4, seed=1)
    teacher -= teacher.mean()
    sizes = []
    for temperature in (50.0, 100.0):
        student = torch.zeros(1, 4, requires_grad=True)
        build(temperature=temperature)(student, teacher).backward()
        sizes.append(student.grad)
    torch.testing.assert_close(sizes[0], sizes[1], rtol=0.05, atol=1e-3)
    torch.testing.assert_close(sizes[1], -teacher / 4, rtol=0.1, atol=1e-2)


def test_weights_and_nothing():
    loss, student, teacher = build(loss_weight=2.0), logits(3, 4).requires_grad_(), logits(3, 4, seed=1)
    rows = softmax_kl(student, teacher)
    found = loss(student, teacher, torch.tensor([1.0, 0.0, 3.0]))
    torch.testing.assert_close(found, 2 * (rows[0] + 3 * rows[2]) / 4)
    for empty in (loss(student[:0], teacher[:0]), loss(student, teacher, torch.zeros(3))):
        assert empty.item() == 0
        assert torch.autograd.grad(empty, student)[0].abs().max() == 0


def test_teacher_gets_no_gradient_and_halves_are_summed_in_float32():
    student, teacher = logits(3, 4).bfloat16().requires_grad_(), logits(3, 4, seed=1).requires_grad_()
    loss = build()(student, teacher)
    assert loss.dtype == torch.float32
    loss.backward()
    assert teacher.grad is None
    assert student.grad.dtype == torch.bfloat16


@pytest.mark.parametrize('temperature', [0, -1.0, float('inf'), float('nan')])
def test_temperature_is_checked(temperature):
    with pytest.raises(ConfigError, match=r'DistillationLoss: temperature must lie in \(0, inf\), got'):
        build(temperature=temperature)


def test_correlation_distance_equals_that_of_numpy():
    ours, theirs = logits(2, 3, 5, 7), logits(2, 3, 5, 7, seed=1)
    theirs[:, 0] = 4 * ours[:, 0] - 1  # the same up to scale and offset
    theirs[:, 1] = -ours[:, 1]
    found = [correlation_distance(ours[:, [i]], theirs[:, [i]]).item() for i in range(3)]
    expected = [1 - np.corrcoef(ours[:, i].double().flatten(), theirs[:, i].double().flatten())[0, 1] for i in range(3)]
    assert expected[:2] == pytest.approx([0, 2], abs=1e-9)
    assert found == pytest.approx(expected, abs=1e-5)
    assert correlation_distance(ours, theirs).item() == pytest.approx(np.mean(expected), abs=1e-5)
    torch.testing.assert_close(correlation_distance(ours.double() * 5 + 2, theirs), correlation_distance(ours, theirs))


def test_constant_maps_give_numbers():
    flat = torch.ones(1, 2, 3, 3, requires_grad=True)
    loss = correlation_distance(flat, logits(1, 2, 3, 3))
    assert loss.item() == pytest.approx(0.5, abs=1e-4)
    assert torch.isfinite(torch.autograd.grad(loss, flat)[0]).all()
