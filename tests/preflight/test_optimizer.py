"""Rates that stand where MMEngine does not look for them."""
import pytest
from mmengine.config import Config

from cxrdet.preflight.check import _multiplied_rates, examine


def problems(**wrapper):
    return list(_multiplied_rates(examine(Config(dict(optim_wrapper=wrapper)))))


def test_a_rate_inside_that_paramwise_cfg_needs_outside():
    lookahead = dict(type='cxrdet.Lookahead', inner=dict(type='AdamW', lr=1e-4, weight_decay=0.05))
    assert problems(optimizer=lookahead, paramwise_cfg=dict(norm_decay_mult=0.0)) == [
        'optim_wrapper.optimizer.inner.lr: with paramwise_cfg it stands one level up, beside inner: '
        'optim_wrapper.optimizer.lr = 0.0001.',
        'optim_wrapper.optimizer.inner.weight_decay: with paramwise_cfg it stands one level up, beside inner: '
        'optim_wrapper.optimizer.weight_decay = 0.05.']


@pytest.mark.parametrize('paramwise', [dict(norm_decay_mult=0.0), dict(custom_keys={'.bias': dict(decay_mult=0.0)})])
def test_a_decay_that_is_not_given(paramwise):
    optimizer = dict(type='cxrdet.Lookahead', inner=dict(type='AdamW'), lr=1e-4)
    line, = problems(optimizer=optimizer, paramwise_cfg=paramwise)
    assert line.startswith('optim_wrapper.optimizer.weight_decay: missing, and paramwise_cfg has ')


@pytest.mark.parametrize('wrapper', [
    dict(optimizer=dict(type='SGD', lr=1e-2), paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)})),
    dict(optimizer=dict(type='cxrdet.Lookahead', inner=dict(type='AdamW', lr=1e-4))),
    dict(optimizer=dict(type='cxrdet.Lookahead', inner=dict(type='AdamW'), lr=1e-4), paramwise_cfg=dict(a=1)),
    dict(optimizer=dict(type='AdamW', lr=1e-4), paramwise_cfg=dict(a=1)), {}])
def test_fine(wrapper):
    assert problems(**wrapper) == []
