"""Parameters, multiply-adds and time of models."""
import weakref

import pytest
import torch
from cost import count_saved_bytes, measure_costs
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS
from torch import nn

from cxrdet.preflight.check import examine


class Net(nn.Module):
    """A convolution of 3 -> 16 channels, 3x3, then 16 -> 5 classes; ``turns`` times as slow."""

    def __init__(self, turns=1, data_preprocessor=None):
        super().__init__()
        self.conv, self.fc, self.turns = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.Linear(16, 5), turns

    def test_step(self, data):
        x = torch.stack(data['inputs'])
        for _ in range(self.turns):
            out = self.fc(self.conv(x).mean((2, 3)))
        return out


class OneImage:
    def __init__(self, size=(32, 48)):
        self.size = size

    def __getitem__(self, index):
        return {'inputs': torch.zeros(3, *self.size)}

    def __len__(self):
        return 1


@pytest.fixture
def config(monkeypatch):
    MODELS.register_module('CostNet', module=Net, force=True)
    DATASETS.register_module('CostImage', module=OneImage, force=True)
    monkeypatch.setattr('cost.check_run', lambda cfg, mode: examine(cfg))
    yield lambda **model: Config({
        'default_scope': 'mmengine', 'model': {'type': 'CostNet', **model},
        'test_dataloader': {'dataset': {'type': 'CostImage'}}})
    MODELS.module_dict.pop('CostNet'), DATASETS.module_dict.pop('CostImage')


def test_counts_by_hand_and_times_in_proportion(config):
    threads = torch.get_num_threads()
    costs = measure_costs({'once': config(), 'many': config(turns=20)}, rounds=5)
    assert torch.get_num_threads() == threads
    once = 32 * 48 * 3 * 16 * 9 + 16 * 5  # multiply-adds of the convolution at every place, and of the classifier
    assert [cost['multiply_adds'] for cost in costs.values()] == [once, 20 * once]
    assert {cost['parameters'] for cost in costs.values()} == {3 * 16 * 9 + 16 * 5 + 5}
    assert 0 < costs['once']['ms'] < costs['many']['ms']


def test_leaves_config_and_generator_alone(config):
    cfg = config()
    before, state = cfg.to_dict(), torch.get_rng_state()
    measure_costs({'net': cfg}, rounds=1)
    assert cfg.to_dict() == before
    assert torch.equal(torch.get_rng_state(), state)


def test_no_models():
    assert measure_costs({}) == {}


def test_bytes_for_the_backward_pass():
    """By hand: a convolution keeps its input, ReLU its output, a linear layer its input; nothing twice, no weights."""
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 5 * 7, 2))
    image = torch.zeros(2, 3, 5, 7)
    assert count_saved_bytes(net, lambda: net(image)) == 4 * 2 * (3 + 4) * 5 * 7  # the last input is the ReLU's output
    net[0].requires_grad_(False)
    assert count_saved_bytes(net, lambda: net(image)) == 4 * 2 * 4 * 5 * 7
    with torch.no_grad():
        assert count_saved_bytes(net, lambda: net(image)) == 0


def test_nothing_of_a_counted_call_stays():
    """ReLU keeps its output, which knows the ReLU: a ring that must not hold the tensors."""
    kept = []

    def run():
        out = torch.relu(nn.functional.linear(torch.zeros(2, 3), weight))
        kept.append(weakref.ref(out))
        return out
    weight = torch.zeros(4, 3, requires_grad=True)
    count_saved_bytes(nn.Identity(), run)
    assert kept[0]() is None
