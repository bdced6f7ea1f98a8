"""What optimizers and averaged weights of the configs do to two weights, against the papers' steps in plain floats."""
import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, DefaultScope
from torch import nn

from cxrdet.preflight.config import load_config

GRADIENTS = [(0.3, -0.4), (0.6, 0.1), (-3.0, 4.0), (0.0, 0.2), (0.5, -0.5)]
START = (0.8, -0.6)


def trajectory(name, **options):
    """The two weights after each step, by the optimizer that a config has."""
    cfg = load_config(name)
    cfg.optim_wrapper.optimizer.update(options)
    model = nn.Module()
    model.weight = nn.Parameter(torch.tensor(START, dtype=torch.float64))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        optim = build_optim_wrapper(model, cfg.optim_wrapper)
    found = []
    for gradient in GRADIENTS:
        optim.update_params((model.weight * torch.tensor(gradient, dtype=torch.float64)).sum())
        found.append(tuple(model.weight.tolist()))
    return found


@pytest.mark.parametrize(('name', 'rate', 'decay'), [
    ('faster_rcnn_cell_phase1', 1e-3, 1e-4), ('faster_rcnn_fpn_bccd', 7e-4, 0.05)])
def test_adamw(name, rate, decay):
    """Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2."""
    w, m, v = list(START), [0., 0.], [0., 0.]
    for t, (gradient, found) in enumerate(zip(GRADIENTS, trajectory(name)), 1):
        for i, g in enumerate(gradient):
            m[i], v[i] = 0.9 * m[i] + 0.1 * g, 0.999 * v[i] + 0.001 * g * g
            step = m[i] / (1 - 0.9 ** t) / (math.sqrt(v[i] / (1 - 0.999 ** t)) + 1e-8)
            w[i] -= rate * (step + decay * w[i])
        assert found == pytest.approx(w, abs=1e-12)
    assert abs(w[0] - START[0]) > 1e-4


def test_lamb():
    """You et al., "Large Batch Optimization for Deep Learning", ICLR 2020, algorithm 2, at the config's rate of 1e-3.

    The decay is 0.1 here: the config's 0.01 would hardly show. The gradient of all weights together is cut
    to length 1 first, as the authors' code does: the third has length 5.
    """
    w, m, v = list(START), [0., 0.], [0., 0.]
    weights = trajectory('faster_rcnn_fpn_cell+lamb', weight_decay=0.1)
    for t, (gradient, found) in enumerate(zip(GRADIENTS, weights), 1):
        length, step = max(1.0, math.hypot(*gradient)), [0., 0.]
        for i, g in enumerate(gradient):
            g /= length
            m[i], v[i] = 0.9 * m[i] + 0.1 * g, 0.999 * v[i] + 0.001 * g * g
            step[i] = m[i] / (1 - 0.9 ** t) / (math.sqrt(v[i] / (1 - 0.999 ** t)) + 1e-6) + 0.1 * w[i]
        ratio = math.hypot(*w) / math.hypot(*step)
        w = [each - 1e-3 * ratio * change for each, change in zip(w, step)]
        assert found == pytest.approx(w, abs=1e-6), t  # the length is taken in float32
    assert math.dist(w, START) > 0.002


@pytest.mark.parametrize(('name', 'momentum', 'gamma'), [('faster_rcnn_fpn_cell+ema', 0.0002, 2000),
                                                         ('faster_rcnn_fpn_bccd', None, None)])
def test_averaged_weights(name, momentum, gamma):
    """The share of each new weight falls from near 1 to momentum: (1 - momentum) e^(-(1 + t) / gamma) + momentum."""
    cfg = load_config(name).default_hooks.ema
    momentum, gamma = momentum or cfg.momentum, gamma or cfg.gamma
    assert (cfg.momentum, cfg.gamma) == (momentum, gamma) and 0 < momentum < 0.1
    model = nn.Linear(1, 1, bias=False).double()
    with DefaultScope.overwrite_default_scope('mmdet'):
        hook = HOOKS.build(dict(cfg))
        hook.before_run(SimpleNamespace(model=model))
    mean, weight = None, 8.0
    for t in range(400):
        weight = 0.99 * weight + (-1) ** t * 0.05
        with torch.no_grad():
            model.weight.fill_(weight)
        hook.after_train_iter(SimpleNamespace(iter=t, epoch=0, model=model), t)
        share = (1 - momentum) * math.exp(-(1 + t) / gamma) + momentum
        mean = weight if t == 0 else mean + share * (weight - mean)
        assert hook.ema_model.module.weight.item() == pytest.approx(mean, abs=1e-9)
    assert abs(mean - weight) > 1e-4
