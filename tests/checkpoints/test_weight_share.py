"""What a loading of weights has filled is counted where it happens."""
import pytest
import torch
from mmengine.runner.checkpoint import load_state_dict
from torch import nn

from cxrdet.checkpoints.weight_share import check_share, recorded_loads
from cxrdet.core.errors import CheckpointError


class Renamed(nn.Linear):
    """Converts an older layout while it loads."""
    _version = 2

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args):
        if prefix + 'kernel' in state_dict:
            state_dict[prefix + 'weight'] = state_dict.pop(prefix + 'kernel')
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


def load(model, weights):
    with recorded_loads() as loads:
        load_state_dict(model, weights)
    assert nn.Module._load_from_state_dict.__module__ == 'torch.nn.modules.module'
    return loads


def test_an_old_layout_counts_as_loaded():
    found, = load(nn.Sequential(Renamed(2, 3)), {'0.kernel': torch.ones(3, 2), '0.bias': torch.ones(3)})
    assert found.share == 1
    assert not found.missing


def test_elements_are_counted():
    model = nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2), nn.PReLU())
    found, = load(model, {'0.weight': torch.ones(2, 4), '1.bias': torch.ones(2), '2.weight': torch.ones(3),
                          'x': torch.ones(9)})
    assert found.share == pytest.approx((8 + 2 + 1) / (10 + 8 + 1 + 1))  # batch norm makes up for its count of batches
    assert list(found.missing) == ['0.bias', '1.weight', '1.running_mean', '1.running_var']
    assert list(found.reshaped) == ['2.weight']
    assert found.unexpected == ['x']
    check_share(found, 'a.pth')


def test_every_load_is_judged_alone():
    one, two = nn.Linear(2, 2), nn.Linear(2, 2)
    with recorded_loads() as loads:
        one.load_state_dict(one.state_dict())
        two.load_state_dict({}, strict=False)
    assert [load.share for load in loads] == [1, 0]
    two.requires_grad_(False)
    with pytest.raises(CheckpointError, match=r'b\.pth: 0\.0 % of the weights of Linear .*frozen'):
        check_share(loads[1], 'b.pth')
    check_share(loads[1], 'b.pth', accept=True)


@pytest.mark.parametrize(('name', 'shape', 'share'), [
    ('bbox_head', (7, 4), 1.0),  # another number of classes
    ('bbox_head', (2, 5), 0.2),  # another width
    ('conv', (7, 4), 0.2),  # no head
])
def test_only_the_number_of_classes_of_a_head_is_excused(name, shape, share):
    model = nn.ModuleDict({'a': nn.Linear(1, 1), name: nn.Linear(4, 2, bias=False)})
    found, = load(model, {'a.weight': torch.ones(1, 1), 'a.bias': torch.ones(1), f'{name}.weight': torch.ones(shape)})
    assert found.share == pytest.approx(share)
