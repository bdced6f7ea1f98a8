"""Lookahead against the paper's algorithm worked out by hand, its state, and its place in MMEngine's wrapper."""
import io
import signal

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from cxrdet.checkpoints.checkpoint import Checkpoint
from cxrdet.core.errors import CheckpointError, ConfigError
from cxrdet.core.torch_files import read_torch_file
from cxrdet.engine.optimizers import Lookahead
from cxrdet.registry import OPTIMIZERS


def lookahead(params, inner=None, **options):
    return OPTIMIZERS.build(dict(type='cxrdet.Lookahead', params=params, **options,
                                 inner=inner or dict(type='SGD', lr=1.0)))


def step(optimizer, weight, gradient):
    weight.grad = torch.full_like(weight, gradient)
    optimizer.step()


def test_trajectory_by_hand():
    """SGD of rate 1, gradient 1, k = 2, alpha = 0.25: from 8 by 7 to 6, back to 8 - 2/4 = 7.5; by 6.5 to 5.5, …"""
    weight = nn.Parameter(torch.tensor([8.0]))
    optimizer, seen = lookahead([weight], k=2, alpha=0.25), []
    for _ in range(6):
        step(optimizer, weight, 1.0)
        seen.append(weight.item())
    assert seen == [7.0, 7.5, 6.5, 7.0, 6.0, 6.5]


@pytest.mark.parametrize('inner', [dict(type='AdamW', lr=0.1, weight_decay=0.1), dict(type='SGD', lr=0.1, momentum=0.9),
                                   dict(type='mmpretrain.Lamb', lr=0.1), dict(type='RMSprop', lr=0.01)],
                         ids=lambda inner: inner['type'])
def test_algorithm_1_around_any_optimizer(inner):
    """Algorithm 1 in float64, written with two plain copies of the weights."""
    torch.manual_seed(0)
    start, target = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    weight, plain = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizer, alone = lookahead([weight], dict(inner), k=3, alpha=0.3), OPTIMIZERS.build(dict(inner, params=[plain]))
    slow = start.clone()
    for t in range(1, 14):
        for each, mine in ((optimizer, weight), (alone, plain)):
            each.zero_grad()
            ((mine - target) ** 2).sum().backward()
            each.step()
        if t % 3 == 0:
            slow = 0.7 * slow + 0.3 * plain.detach()
            plain.data = slow.clone()
        torch.testing.assert_close(weight, plain, rtol=1e-12, atol=1e-12)
    assert (weight - start).abs().max() > 0.05


def test_alpha_one_is_the_inner_optimizer():
    weights = [nn.Parameter(torch.ones(3)) for _ in range(2)]
    optimizers = lookahead([weights[0]], k=2, alpha=1), torch.optim.SGD([weights[1]], lr=1.0)
    for gradient in (0.3, 0.1, 0.7):
        for optimizer, weight in zip(optimizers, weights, strict=True):
            step(optimizer, weight, gradient)
    torch.testing.assert_close(*weights, rtol=1e-6, atol=0)


def model_of(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1))


def train(model, optimizer, steps, first=0):
    for t in range(first, first + steps):
        optimizer.zero_grad()
        model(torch.randn(8, 4, generator=torch.Generator().manual_seed(t))).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize('done', [0, 1, 5, 6])
def test_resumed_bit_for_bit_through_a_checkpoint(done):
    inner = dict(type='AdamW', lr=0.01)
    model = model_of()
    optimizer = lookahead(model.parameters(), dict(inner), k=3)
    train(model, optimizer, done)
    with io.BytesIO() as file:
        torch.save(dict(model=model.state_dict(), optimizer=optimizer.state_dict()), file)
        file.seek(0)
        saved = read_torch_file(file)
    train(model, optimizer, 7, first=done)

    other = model_of(seed=1)
    resumed = lookahead(other.parameters(), dict(inner), k=3)
    other.load_state_dict(saved['model'])
    resumed.load_state_dict(saved['optimizer'])
    assert resumed.steps == done
    assert resumed.param_groups is resumed.inner.param_groups
    train(other, resumed, 7, first=done)
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_state_of_another_optimizer_is_refused():
    weight = nn.Parameter(torch.ones(1))
    with pytest.raises(CheckpointError, match='without Lookahead: it has no slow weights to go on with'):
        lookahead([weight]).load_state_dict(torch.optim.SGD([weight], lr=1.0).state_dict())


@pytest.mark.parametrize(('options', 'text'), [
    (dict(k=0), r'integer k >= 1 and alpha in \(0, 1\], got 0 and 0.5'), (dict(alpha=0), 'got 6 and 0'),
    (dict(k=2.5), 'got 2.5'), (dict(alpha=1.5), 'got 6 and 1.5'), (dict(lr=2.0), 'lr is given twice')])
def test_bad_arguments(options, text):
    with pytest.raises(ConfigError, match=text):
        Lookahead([nn.Parameter(torch.ones(1))], dict(type='SGD', lr=1.0), **options)


def wrapper(model, scope='mmdet', **options):
    with DefaultScope.overwrite_default_scope(scope):
        return build_optim_wrapper(model, dict(dict(optimizer=dict(
            type='cxrdet.Lookahead', inner=dict(type='AdamW'), lr=0.01, weight_decay=0.1)), **options))


def test_rates_for_parts_of_a_model():
    model = model_of()
    optim = wrapper(model, paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys={'3': dict(lr_mult=10)}))
    groups = {id(group['params'][0]): group for group in optim.optimizer.inner.param_groups}
    assert groups[id(model[3].weight)]['lr'] == pytest.approx(0.1)
    assert groups[id(model[0].weight)]['lr'] == 0.01
    assert groups[id(model[1].weight)]['weight_decay'] == 0
    assert groups[id(model[0].weight)]['weight_decay'] == 0.1


@pytest.mark.parametrize('scope', ['mmdet', 'mmpretrain'])
def test_lamb_inside_in_either_scope(scope):
    optim = wrapper(model_of(), scope, optimizer=dict(
        type='cxrdet.Lookahead', inner=dict(type='mmpretrain.Lamb', lr=0.01, weight_decay=0.02)))
    assert type(optim.optimizer.inner).__name__ == 'Lamb'
    assert optim.get_lr() == {'lr': [0.01]}


def test_only_real_steps_count():
    """Two batches make one step: after 5 batches 2 steps are done, and the gradient is the mean of two."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 8.0)
    optim = wrapper(model, optimizer=dict(type='cxrdet.Lookahead', inner=dict(type='SGD', lr=1.0), k=2, alpha=0.25),
                    accumulative_counts=2)
    seen = []
    for value in (0.5, 1.5, 2.0, 0.0, 9.0):
        with optim.optim_context(model):
            loss = model(torch.tensor([[value]])).sum()
        optim.update_params(loss)
        seen.append(model.weight.item())
    assert seen == [8.0, 7.0, 7.0, 7.5, 7.5]
    assert optim.optimizer.steps == 2


def test_steps_that_a_gradient_scaler_skips_do_not_count():
    weight = nn.Parameter(torch.tensor([8.0]))
    optimizer, scaler = lookahead([weight], k=2, alpha=0.25), torch.amp.GradScaler('cpu', init_scale=4.0)
    for factor in (1.0, float('inf'), 1.0):
        optimizer.zero_grad()
        scaler.scale((weight * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    assert optimizer.steps == 2
    assert weight.item() == 7.5


def test_schedulers_reach_the_inner_optimizer():
    from mmengine.optim import LinearLR
    weight = nn.Parameter(torch.tensor([8.0]))
    optimizer = lookahead([weight], k=10)
    scheduler = LinearLR(optimizer, start_factor=0.5, begin=0, end=3, by_epoch=False)
    step(optimizer, weight, 1.0)
    scheduler.step()
    step(optimizer, weight, 1.0)
    assert weight.item() == 8 - 0.5 - 0.75


def test_frozen_weights_stay_and_start_where_they_are_set_free():
    weight, frozen = nn.Parameter(torch.tensor([8.0])), nn.Parameter(torch.tensor([8.0]), requires_grad=False)
    optimizer = lookahead([weight, frozen], k=2, alpha=0.25)
    for _ in range(2):
        step(optimizer, weight, 1.0)
    assert frozen.item() == 8
    frozen.data.fill_(4.0)
    frozen.requires_grad = True
    for _ in range(2):
        frozen.grad = torch.ones(1)
        step(optimizer, weight, 1.0)
    assert frozen.item() == 4 - 2 / 4


def test_groups_added_later_are_shared():
    first, second = (nn.Parameter(torch.ones(1)) for _ in range(2))
    optimizer = lookahead([first])
    optimizer.add_param_group(dict(params=[second], lr=0.5))
    step(optimizer, second, 1.0)
    assert second.item() == 0.5
    assert len(optimizer.inner.param_groups) == 2


@pytest.mark.parametrize('options', [{}, dict(accumulate=3, ema=True)], ids=['', 'accumulated, EMA'])
def test_a_killed_run_ends_like_an_unbroken_one(options, train, tmp_path):
    options = dict(options, optimizer=dict(type='cxrdet.Lookahead', inner=dict(type='AdamW'), lr=0.05, k=5))
    assert train(tmp_path / 'unbroken', **options) == 0
    names = (tmp_path / 'unbroken' / 'events').read_text().split('\n')
    assert train(tmp_path / 'killed', len(names) * 6 // 10, **options) == -signal.SIGKILL
    assert train(tmp_path / 'killed', resume=True, **options) == 0
    first, second = (Checkpoint.read(tmp_path / name / 'epoch_3.pth').content for name in ('unbroken', 'killed'))
    for name, value in first['state_dict'].items():
        assert torch.equal(value, second['state_dict'][name]), name
    slow = [checkpoint['optimizer']['lookahead'] for checkpoint in (first, second)]
    assert slow[0]['steps'] == slow[1]['steps'] == (4 if options.get('ema') else 12)
    assert all(torch.equal(slow[0]['slow'][i], slow[1]['slow'][i]) for i in range(4))
