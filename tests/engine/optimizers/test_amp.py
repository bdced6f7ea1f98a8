import torch
from torch import nn

from cxrdet.registry import HOOKS, OPTIM_WRAPPERS


def wrapper(model, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    return OPTIM_WRAPPERS.build(dict(type='cxrdet.BFloat16OptimWrapper', optimizer=optimizer, **options))


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
