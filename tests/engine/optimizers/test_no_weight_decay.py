"""Fusion weights of BiFPN and weight decay: what each optimizer does to them in a step without gradients."""
import logging

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import nn

from cxrdet.core.recipes import find_config
from cxrdet.engine.optimizers.no_weight_decay import exempt_from_decay
from cxrdet.registry import MODELS

OPTIMIZERS = {
    'adamw': dict(type='AdamW', lr=0.1, weight_decay=0.5),
    'fused': dict(type='AdamW', lr=0.1, weight_decay=0.5, fused=True),
    'sgd': dict(type='SGD', lr=0.1, weight_decay=0.5, momentum=0.9),
    'lamb': dict(type='mmpretrain.Lamb', lr=0.1, weight_decay=0.5),
    'lookahead': dict(type='cxrdet.Lookahead', inner=dict(type='AdamW'), lr=0.1, weight_decay=0.5)}
PARAMWISE = {
    'none': None, 'recipes': dict(norm_decay_mult=0., bias_decay_mult=0.),
    'asked to decay': dict(custom_keys={'fusion_weight': dict(decay_mult=3., lr_mult=0.5)})}


def groups(optimizer, paramwise, model):
    cfg = dict(optimizer=dict(optimizer)) | ({} if paramwise is None else dict(paramwise_cfg=paramwise))
    return exempt_from_decay(model, build_optim_wrapper(model, cfg))


@pytest.fixture
def model():
    init_default_scope('mmdet')
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 2), MODELS.build(dict(
        type='cxrdet.BiFPN', in_channels=[2, 2], out_channels=2, num_outs=3, num_layers=1)))


@pytest.mark.parametrize('paramwise', PARAMWISE)
@pytest.mark.parametrize('optimizer', OPTIMIZERS)
def test_a_step_without_gradients(model, optimizer, paramwise):
    wrapper = groups(OPTIMIZERS[optimizer], PARAMWISE[paramwise], model)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    for value in model.parameters():
        value.grad = torch.zeros_like(value)
    wrapper.optimizer.step()
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    fusion = {name for name in before if name.endswith('fusion_weight')}
    assert len(fusion) == 4 and not changed & fusion
    assert {'0.weight', '1.laterals.0.conv.weight', '1.layers.0.outputs.0.conv.1.conv.weight'} <= changed
    found = [value for group in wrapper.optimizer.param_groups for value in group['params']]
    assert sorted(map(id, found)) == sorted(map(id, model.parameters()))  # each once
    freed = {id(model.get_parameter(name)) for name in fusion}
    rates = {group['lr'] for group in wrapper.optimizer.param_groups if id(group['params'][0]) in freed}
    assert rates == {0.05 if paramwise == 'asked to decay' else 0.1}


@pytest.mark.parametrize('name', ['faster_rcnn_bifpn_cell', 'faster_rcnn_bifpn_bccd'])
def test_every_parameter_of_the_recipes(name):
    """Convolutions and linear layers decay; norms, biases and fusion weights do not."""
    init_default_scope('mmdet')
    cfg = Config.fromfile(find_config(name))
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    wrapper = exempt_from_decay(model, build_optim_wrapper(model, cfg.optim_wrapper))
    found = {id(value): group['weight_decay'] for group in wrapper.optimizer.param_groups for value in group['params']}
    decays = {key: found[id(value)] for key, value in model.named_parameters() if value.requires_grad}
    base = cfg.optim_wrapper.optimizer.weight_decay
    assert base > 0
    for key, decay in decays.items():
        assert decay == (base if model.get_parameter(key).ndim > 1 else 0), key
    assert sum(key.endswith('fusion_weight') for key in decays) == cfg.model.neck.num_layers * 8


def test_names_are_logged_and_unknown_ones_passed_over(model):
    model[0].no_weight_decay = lambda: {'bias', 'dist_token'}
    records, handler = [], logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    from mmengine.logging import MMLogger
    MMLogger.get_current_instance().addHandler(handler)
    groups(OPTIMIZERS['sgd'], None, model)
    MMLogger.get_current_instance().removeHandler(handler)
    assert any('5 parameters' in line and line.endswith('bias, fusion_weight') for line in records)
