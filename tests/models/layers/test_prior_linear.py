"""The classifier that starts at a small probability: its bias by hand, its weights and names those of nn.Linear."""
import math

import pytest
import torch
from mmengine.model import BaseModule
from torch import nn

from cxrdet.core.errors import ConfigError
from cxrdet.registry import MODELS


def build(**kwargs):
    return MODELS.build(dict(type='cxrdet.PriorLinear', in_features=6, out_features=3, **kwargs))


@pytest.mark.parametrize(('prior', 'bias'), [(0.01, -math.log(99)), (0.5, 0.0), (0.9, math.log(9))])
def test_bias_by_hand(prior, bias):
    torch.testing.assert_close(build(prior=prior).bias, torch.full((3,), bias))


def test_init_cfg_of_the_parent_leaves_the_prior():
    class Head(BaseModule):
        def __init__(self):
            super().__init__(init_cfg=dict(type='Normal', std=0.01, override=dict(name='fc_cls')))
            self.fc_cls = build()
    head = Head()
    head.init_weights()
    torch.testing.assert_close(head.fc_cls.bias.sigmoid(), torch.full((3,), 0.01))
    assert 0 < head.fc_cls.weight.abs().max() < 0.05


def test_weights_are_those_of_a_plain_layer():
    plain, made = nn.Linear(6, 3), build()
    made.load_state_dict(plain.state_dict())
    x = torch.randn(4, 6)
    torch.testing.assert_close(made(x), plain(x))


@pytest.mark.parametrize('prior', [0, 1, -0.1])
def test_prior_out_of_range(prior):
    with pytest.raises(ConfigError, match=rf'prior must lie in \(0, 1\), got {prior}'):
        build(prior=prior)
