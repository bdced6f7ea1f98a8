"""DistillationHook keeps adapters beside the student; a whole run over a resumption is in tests/tools."""
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import cxrdet  # noqa: F401
from cxrdet.core.errors import CheckpointError
from cxrdet.models.distillation import Adapter
from cxrdet.registry import HOOKS


class Student(nn.Module):
    def __init__(self, *channels):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.adapters = nn.ModuleList(Adapter(*pair) for pair in channels)


def runner(*channels, resume=True):
    return SimpleNamespace(model=Student(*channels), _resume=resume)


def saved(run):
    checkpoint = dict(state_dict=run.model.state_dict())
    HOOKS.build(dict(type='cxrdet.DistillationHook')).before_save_checkpoint(run, checkpoint)
    return checkpoint


def load(run, checkpoint):
    HOOKS.build(dict(type='cxrdet.DistillationHook')).after_load_checkpoint(run, checkpoint)


def test_adapters_go_over_a_resumption_and_stay_out_of_the_student():
    first, second = runner((2, 3), (2, 3)), runner((2, 3), (2, 3))
    checkpoint = saved(first)
    assert set(checkpoint['state_dict']) == {'layer.weight', 'layer.bias'}
    kept = checkpoint['distillation_adapters']
    assert set(kept) == {'0.weight', '0.bias', '1.weight', '1.bias'}
    nn.init.zeros_(first.model.adapters[0].weight)  # what is kept is a copy
    load(second, checkpoint)
    assert torch.equal(second.model.adapters[0].weight, kept['0.weight'])
    assert kept['0.weight'].abs().sum() > 0
    assert second.model.adapters[0].weight.requires_grad


def test_nothing_to_do():
    plain = runner()
    assert set(saved(plain)) == {'state_dict'}
    load(plain, {})
    plain.model = nn.Linear(1, 1)
    load(plain, saved(plain))
    load(runner((2, 3), resume=False), {})  # weights to begin with, not a run to go on with


@pytest.mark.parametrize('channels', [(), ((2, 4),), ((2, 3), (2, 3))])
def test_other_adapters_are_refused(channels):
    with pytest.raises(CheckpointError, match=r'cannot be resumed from: .*\(2 entries'):
        load(runner((2, 3)), saved(runner(*channels)))
