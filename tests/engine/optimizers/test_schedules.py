"""The rates that the configs' schedules and rates by depth come to, against values worked out by hand."""
import math
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from torch import nn

import cxrdet  # noqa: F401
from cxrdet.core.recipes import find_config
from cxrdet.preflight.config import load_config

PER_EPOCH = 10


def rates(name):
    """The rate of every iteration, with ten iterations an epoch."""
    found, optim = rates_of_groups(name, nn.Linear(2, 2))
    return [groups[0] for groups in found], optim


def rates_of_groups(name, model, options=()):
    """The rates of every iteration, one a group of parameters."""
    cfg = load_config(name, cfg_options=list(options))
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet')):
        optim = build_optim_wrapper(model, cfg.optim_wrapper)
        schedulers = []
        for scheduler in cfg.param_scheduler:
            scheduler = dict(scheduler)
            kind = PARAM_SCHEDULERS.get(scheduler.pop('type'))
            if scheduler.pop('convert_to_iter_based', False):
                schedulers.append(kind.build_iter_from_epoch(optim, **scheduler, epoch_length=PER_EPOCH))
            else:
                schedulers.append(kind(optim, **scheduler))
    found = []
    for _ in range(cfg.train_cfg.max_epochs * PER_EPOCH):
        found.append(optim.get_lr()['lr'])
        loss = sum(parameter.sum() for parameter in model.parameters())
        optim.update_params(loss)
        for scheduler in schedulers:
            scheduler.step()
    return found, optim


@pytest.mark.parametrize(('name', 'base', 'optimizer', 'decay'), [
    ('configs/_base_/schedules/adamw_1e-3_cosine_100e.py', 1e-3, 'AdamW', 1e-4),
    ('configs/_base_/schedules/adamw_1e-4_cosine_100e.py', 1e-4, 'AdamW', 0.05),
    ('faster_rcnn_fpn_cell+lamb', 1e-3, 'Lamb', 0.01),
    ('faster_rcnn_fpn_cell+lookahead', 1e-3, 'Lookahead', 1e-4)])
def test_warm_up_and_cosine(name, base, optimizer, decay):
    found, optim = rates(name)
    assert type(optim.optimizer).__name__ == optimizer
    inner = getattr(optim.optimizer, 'inner', optim.optimizer)
    assert {(group['weight_decay'], group['betas']) for group in inner.param_groups} == {(decay, (0.9, 0.999)),
                                                                                        (0.0, (0.9, 0.999))}
    if optimizer == 'Lookahead':
        assert (type(inner).__name__, optim.optimizer.k, optim.optimizer.alpha) == ('AdamW', 6, 0.5)
    assert len(found) == 1000
    for i, rate in enumerate(found):
        warm = min(1.0, 0.001 + 0.999 * i / 499)
        expected = 1e-6 + (base - 1e-6) * (1 + math.cos(math.pi * i / 1000)) / 2
        assert rate == pytest.approx(warm * expected, rel=2e-3, abs=1.1e-6), i  # 1e-6 is not warmed up
    assert found[0] == pytest.approx(base * 0.001)
    assert found[-1] == pytest.approx(1e-6, rel=0.05)


def test_which_of_the_two_the_recipes_take():
    """The rate and decay that were asked for; the other stands beside it."""
    for name in ('faster_rcnn_fpn_cell', 'faster_rcnn_bifpn_cell', 'retinanet_bifpn_cell'):
        cfg = Config.fromfile(find_config(name))
        asked = Config.fromfile('configs/_base_/schedules/adamw_1e-3_cosine_100e.py')
        assert (cfg.optim_wrapper, cfg.param_scheduler) == (asked.optim_wrapper, asked.param_scheduler)


def test_fixed_rate():
    found, optim = rates('cxrdet::_base_/schedules/adam_fixed_20e')
    assert type(optim.optimizer).__name__ == 'Adam'
    assert found == [1e-3] * 20 * PER_EPOCH


ROWS = yaml.safe_load(Path('benchmarks/tables/bccd_schedules.yml').read_text())['rows']


@pytest.mark.parametrize('row', ROWS)
def test_rows_of_the_table_are_what_their_names_say(row):
    name = Path(ROWS[row]['config']).stem
    found, optim = rates_of_groups(name, nn.Linear(2, 2), ROWS[row].get('options', ()))
    inner = getattr(optim.optimizer, 'inner', optim.optimizer)
    words = row.replace(',', '').split()
    assert row.lower().startswith(type(optim.optimizer).__name__.lower())
    assert inner.param_groups[0]['weight_decay'] == (float(words[words.index('decay') + 1]) if 'decay' in words else 0)
    peak = next(float(word) for word in words if word.startswith('1e-'))
    if 'fixed' in words:
        assert {round(groups[0], 12) for groups in found} == {peak}
    else:  # ten iterations an epoch: 120, so that the warm-up of 100 is not over in time
        assert found[0][0] == pytest.approx(peak * 0.001) and max(found)[0] < peak


@pytest.mark.parametrize('name', ['densenet121_nih_depth_rates', 'resnet34_nih_depth_rates'])
def test_rates_by_depth_keep_their_proportions(name):
    """Groups at 1 and 100 of a rate that goes to a hundredth: 500 iterations of warm-up are longer than this run."""
    found, _ = rates_of_groups(name, nn.ModuleDict({'backbone': nn.Linear(2, 2), 'head': nn.Linear(2, 2)}))
    assert len(found) == 300
    for i, groups in enumerate(found):
        assert max(groups) / min(groups) == pytest.approx(100), i
        warm = min(1.0, 0.001 + 0.999 * i / 499)
        cosine = 1e-4 * (0.01 + 0.99 * (1 + math.cos(math.pi * i / 300)) / 2)
        assert max(groups) == pytest.approx(warm * cosine, rel=2e-3, abs=1.1e-6), i  # the last 1 % is not warmed up


def test_one_cycle():
    """From 5e-4 / 25 up in 100 of 1000 iterations and down to 5e-4 / 25 / 1e4, both along a cosine."""
    found, _ = rates('faster_rcnn_fpn_cell_onecycle')
    low, high, end, top = 2e-5, 5e-4, 2e-9, 1000 * 0.1 - 1
    for i, rate in enumerate(found):
        first, last, share = (low, high, i / top) if i <= top else (high, end, (i - top) / (999 - top))
        assert rate == pytest.approx(last + (first - last) * (1 + math.cos(math.pi * share)) / 2, rel=1e-6), i


def rates_by_name(config, **backbone):
    from mmpretrain.registry import MODELS
    cfg = Config.fromfile(find_config(config))
    cfg.model.pop('init_cfg', None)
    cfg.model.backbone.update(backbone)
    cfg.model.head.in_channels = 16
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(dict(cfg.model, data_preprocessor=None))
        optim = build_optim_wrapper(model, cfg.optim_wrapper)
    by_id = {id(weight): group['lr'] for group in optim.optimizer.param_groups for weight in group['params']}
    return {name: by_id[id(weight)] for name, weight in model.named_parameters()}


@pytest.mark.parametrize(('config', 'backbone', 'medium'), [
    ('resnet34_nih_depth_rates', dict(depth=18, base_channels=16, stem_channels=16),
     ('backbone.layer3.', 'backbone.layer4.')),
    ('densenet121_nih_depth_rates', dict(arch=dict(growth_rate=16, depths=[1, 1, 1, 1], init_channels=16)),
     ('backbone.stages.2.', 'backbone.stages.3.', 'backbone.transitions.2.', 'backbone.transitions.3.'))])
def test_small_medium_and_large(config, backbone, medium):
    found = rates_by_name(config, **backbone)
    for name, rate in found.items():
        expected = 1e-5 if name.startswith(medium) else 1e-6 if name.startswith('backbone.') else 1e-4
        assert rate == pytest.approx(expected), name
    assert len({round(rate, 12) for rate in found.values()}) == 3


def test_rates_that_fall_from_layer_to_layer():
    found = rates_by_name('vit_b16_nih_layer_decay', img_size=32, patch_size=8, arch=dict(
        embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32))
    for name, rate in found.items():
        part = name.split('.')
        depth = 5 if part[0] == 'head' or part[1] == 'ln1' else int(part[2]) + 1 if part[1] == 'layers' else 0
        assert rate == pytest.approx(1e-4 * 0.75**(5 - depth)), name
