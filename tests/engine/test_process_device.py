"""Which device a run is given."""
import mmengine.device.utils
import pytest
import torch
from mmengine.config import Config
from mmengine.device import get_device

from cxrdet.core.errors import ConfigError
from cxrdet.engine.process import pick_device, set_device


@pytest.fixture
def gpus(monkeypatch):
    """A machine with two GPUs, as far as it is asked; gives the calls of torch.cuda.set_device."""
    chosen, zeros = [], torch.zeros
    monkeypatch.setattr(mmengine.device.utils, 'DEVICE', 'cuda')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setattr(torch.cuda, 'set_device', chosen.append)

    def fake_zeros(*shape, device):
        if (torch.device(device).index or 0) > 1:
            raise RuntimeError('CUDA error: invalid device ordinal\nmore lines')
        return zeros(*shape)
    monkeypatch.setattr(torch, 'zeros', fake_zeros)
    return chosen


@pytest.mark.parametrize(('device', 'kind', 'number'), [
    (None, 'cuda', []), ('cpu', 'cpu', []), ('cuda', 'cuda', []), ('auto', 'cuda', []),
    ('cuda:1', 'cuda', [torch.device('cuda:1')])])
def test_the_runner_computes_where_it_is_told(gpus, device, kind, number):
    set_device(Config(dict(device=device)))
    assert get_device() == kind
    assert gpus == number


def test_absent(gpus):
    set_device(Config(dict()))
    assert get_device() == 'cuda'


@pytest.mark.parametrize(('device', 'message'), [
    ('cuda:7', 'device=cuda:7: CUDA error: invalid device ordinal. Use "auto", "cpu" or a GPU that is there: 2 are'),
    ('gpu', 'device=gpu: .*Use "auto"')])
def test_no_such_device(gpus, device, message):
    with pytest.raises(ConfigError, match=message):
        set_device(Config(dict(device=device)))
    assert get_device() == 'cuda'


@pytest.mark.parametrize('device', ['cpu', 'cuda:1'])
def test_several_processes_do_not_share_a_device(gpus, device):
    with pytest.raises(ConfigError, match=f'device={device}: '):
        set_device(Config(dict(device=device, launcher='pytorch')))
    set_device(Config(dict(device='cuda', launcher='pytorch')))


def test_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert pick_device('auto') == torch.device('cpu')
