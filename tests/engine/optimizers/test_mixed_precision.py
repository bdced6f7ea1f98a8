import copy

import pytest
import torch
from torch import nn

from cxrdet.core.errors import ConfigError
from cxrdet.registry import HOOKS, OPTIM_WRAPPERS


def wrapper(model, precision='bfloat16', **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    return OPTIM_WRAPPERS.build(dict(type='cxrdet.MixedPrecisionOptimWrapper', optimizer=optimizer,
                                     precision=precision, **options))


def step(model, optim, value):
    with optim.optim_context(model):
        out = model(torch.tensor([[value]]))
    optim.update_params(out.float().sum())
    return out


def test_forward_in_bfloat16_weights_in_float32():
    model = nn.Linear(4, 1, bias=False)
    nn.init.constant_(model.weight, 1 + 2**-9)  # not a bfloat16 number: rounds to 1
    optim = wrapper(model)
    with optim.optim_context(model):
        out = model(torch.ones(1, 4))
    assert out.dtype == torch.bfloat16
    assert out.item() == 4
    optim.update_params(out.float().sum())
    assert model.weight.dtype == torch.float32
    torch.testing.assert_close(model.weight, torch.full((1, 4), 2**-9), rtol=0, atol=1e-7)  # 1 + 2^-9 - 1 * gradient 1


def test_float32_is_float32():
    """Inside somebody else's autocast, too."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1 + 2**-9)
    optim = wrapper(model, 'float32')
    with torch.autocast('cpu', torch.bfloat16):
        out = step(model, optim, 1.0)
    assert out.dtype == torch.float32 and out.item() == 1 + 2**-9
    assert 'loss_scaler' not in optim.state_dict()


def test_float16_scales_the_loss_and_leaves_out_steps_that_overflow():
    """The gradient 2^-26 is below the smallest float16, 2^-24, so that without the scale 2^8 it would be lost; a
    gradient of 2^12 exceeds the largest, 65504, after scaling: that step is left out and the scale halved."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    optim = wrapper(model, 'float16', loss_scale=dict(init_scale=2.**8))
    assert step(model, optim, 2.**-14).dtype == torch.float16
    assert model.weight.item() == -2.**-14
    with optim.optim_context(model):
        out = model(torch.tensor([[1.0]]))
    optim.update_params(out.float().sum() * 2**-26)
    assert model.weight.item() == -2.**-14 - 2.**-26
    kept, model.weight.grad = model.weight.item(), None
    step(model, optim, 2.**12)
    assert model.weight.item() == kept
    assert optim.loss_scaler.get_scale() == 2.**7


def test_gradients_are_clipped_after_unscaling():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    step(model, wrapper(model, 'float16', loss_scale=128., clip_grad=dict(max_norm=1)), 4.0)
    assert model.weight.item() == pytest.approx(-1, abs=1e-5)


@pytest.mark.parametrize('before', ['float16', 'float32'])
@pytest.mark.parametrize('after', ['float16', 'bfloat16', 'float32'])
def test_states_load_into_every_precision(before, after):
    model = nn.Linear(1, 1, bias=False)
    old, new = wrapper(model, before, loss_scale=dict(init_scale=8.)), wrapper(model, after)
    new.load_state_dict(copy.deepcopy(old.state_dict()))
    if after == 'float16':
        assert new.loss_scaler.get_scale() == (8 if before == 'float16' else 2**16)


@pytest.mark.parametrize('scale', ['static', 0, True, None])
def test_bad_loss_scale(scale):
    with pytest.raises(ConfigError, match='loss_scale'):
        wrapper(nn.Linear(1, 1), loss_scale=scale)


def test_the_environment_goes_before(monkeypatch):
    monkeypatch.setenv('CXRDET_PRECISION', 'float16')
    assert wrapper(nn.Linear(1, 1), 'float32').precision.name == 'float16'


def test_gradients_accumulate():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    optim = wrapper(model, accumulative_counts=2)
    for value, expected in ((1.0, 0.0), (3.0, -2.0)):  # the mean of the gradients 1 and 3, after the second step
        with optim.optim_context(model):
            loss = model(torch.tensor([[value]])).sum()
        optim.update_params(loss)
        assert model.weight.item() == expected


def test_channels_last_hook():
    class Runner:
        model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    weights = Runner.model[0].weight.clone()
    HOOKS.build(dict(type='cxrdet.ChannelsLastHook')).before_run(Runner)
    assert Runner.model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(Runner.model[0].weight, weights)
    assert Runner.model(torch.zeros(1, 2, 8, 8)).is_contiguous(memory_format=torch.channels_last)
