"""Files of torch.save are read without executing what is pickled in them."""
import io
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleLR
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

from cxrdet.checkpoints.safe_pickle import safe_load
from cxrdet.core.errors import CheckpointError


class Malicious:
    """Writes a file when it is unpickled by the unsafe loader."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.system, (f'touch {self.target}',)


class Opening(Malicious):
    def __reduce__(self):
        return open, (self.target, 'w')


class GetAttribute:
    """Reaches for the globals of an allowed class, as far as ``getattr`` lets it."""

    def __reduce__(self):
        return getattr, (HistoryBuffer, '__init__')


@pytest.fixture
def buffer():
    buffer = HistoryBuffer()
    for value in (3, 1, 2):
        buffer.update(value)
    return buffer


def test_what_mmengine_puts_into_a_checkpoint_is_read(tmp_path, buffer):
    content = dict(state_dict={'w': torch.arange(3)}, message_hub=dict(log_scalars={'loss': buffer}),
                   meta=dict(palette=np.eye(2), score=np.float64(0.5), count=np.int64(3), ok=np.bool_(True),
                             small=np.float32(0.25), names=np.array(['a', 'bc']), classes=('a', 'b')))
    torch.save(content, tmp_path / 'a.pth')
    read = safe_load(tmp_path / 'a.pth')
    assert torch.equal(read['state_dict']['w'], torch.arange(3))
    history = read['message_hub']['log_scalars']['loss']
    assert history.data[0].tolist() == [3, 1, 2]
    assert history.statistics('max') == 3
    for key, value in content['meta'].items():
        assert type(read['meta'][key]) is type(value)
        assert np.array_equal(read['meta'][key], value)


@pytest.mark.parametrize('module', ['numpy.core.multiarray', 'numpy._core.multiarray'])
def test_arrays_of_numpy_1_and_2_are_read(tmp_path, module):
    torch.save(dict(array=np.arange(3.0), number=np.float64(2)), tmp_path / 'a.pth')
    other = tmp_path / 'other.pth'
    _rewrite(tmp_path / 'a.pth', other, lambda text: re.sub(rb'numpy\._?core\.multiarray', module.encode(), text))
    assert safe_load(other)['array'].tolist() == [0, 1, 2]
    assert safe_load(other)['number'] == 2


def _rewrite(source: Path, target: Path, change) -> None:
    """Write the archive again with another pickle inside."""
    import zipfile
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, 'w') as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(data) if name.endswith('data.pkl') else data)


@pytest.mark.parametrize('file_format', ['zip', 'legacy', 'plain pickle'])
@pytest.mark.parametrize(('kind', 'named'), [(Malicious, 'posix.system'), (Opening, 'open')])
def test_code_is_refused_and_not_run(tmp_path, kind, named, file_format):
    path, target = tmp_path / 'evil.pth', tmp_path / 'run'
    content = dict(state_dict={}, meta=kind(target))
    if file_format == 'plain pickle':
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=file_format == 'zip')
    with pytest.raises(CheckpointError, match=rf'evil\.pth: .*executed \(.*{named}\).*--trust-checkpoint'):
        safe_load(path)
    assert not target.exists()


def test_code_is_run_for_those_who_trust(tmp_path):
    torch.save(dict(meta=Malicious(tmp_path / 'run')), tmp_path / 'a.pth')
    safe_load(tmp_path / 'a.pth', trust=True)
    assert (tmp_path / 'run').exists()


def test_getattr_gives_the_statistics_only(tmp_path):
    torch.save(dict(a=GetAttribute()), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r'executed \(getattr\(HistoryBuffer,__init__\)\)'):
        safe_load(tmp_path / 'a.pth')


class Called:
    """Calls what its arguments name."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('strategy', ['cos', 'linear'])
def test_one_cycle_as_mmengine_writes_it(tmp_path, strategy):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = OneCycleLR(optimizer, eta_max=1.0, total_steps=5, anneal_strategy=strategy)
    torch.save(dict(param_schedulers=[scheduler.state_dict()]), tmp_path / 'a.pth')
    state, = safe_load(tmp_path / 'a.pth')['param_schedulers']
    assert state == scheduler.state_dict()
    assert state['anneal_func'](0.0, 1.0, 0.5) == pytest.approx(0.5)


@pytest.mark.parametrize('call', [
    (OneCycleParamScheduler, ()), (getattr, (OneCycleParamScheduler, '__init__')),
    (getattr, (OneCycleParamScheduler, '_get_value')), (getattr, (OneCycleParamScheduler, '__globals__')),
    (getattr, (OneCycleLR, '_annealing_cos'))])
def test_nothing_else_of_one_cycle_is_given(tmp_path, call):
    torch.save(dict(a=Called(*call)), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r'a\.pth: .*executed \(.*OneCycle'):
        safe_load(tmp_path / 'a.pth')


def test_what_others_allow_stays_and_nothing_is_added(tmp_path):
    torch.save(dict(a=np.arange(3)), tmp_path / 'a.pth')
    with torch.serialization.safe_globals([np.ndarray]):
        before = set(torch.serialization.get_safe_globals())
        safe_load(tmp_path / 'a.pth')
        assert set(torch.serialization.get_safe_globals()) == before
    safe_load(tmp_path / 'a.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'a.pth', weights_only=True)


def test_without_the_context_of_newer_versions(tmp_path, monkeypatch):
    """torch 2.4 has no ``safe_globals``."""
    monkeypatch.delattr(torch.serialization, 'safe_globals')
    before = torch.serialization.get_safe_globals()
    torch.save(dict(a=np.arange(3)), tmp_path / 'a.pth')
    try:
        assert safe_load(tmp_path / 'a.pth')['a'].tolist() == [0, 1, 2]
        known = len(torch.serialization.get_safe_globals())
        safe_load(tmp_path / 'a.pth')
        assert len(torch.serialization.get_safe_globals()) == known
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def test_an_unknown_class_is_refused_by_name(tmp_path):
    torch.save(dict(a=Path('x')), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r'executed \(pathlib\S*Path\)'):
        safe_load(tmp_path / 'a.pth')


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp('whole') / 'whole.pth'
    torch.save(dict(state_dict={str(i): torch.rand(100) for i in range(5)}, meta={}), path)
    return path.read_bytes()


@pytest.mark.parametrize('share', [0.01, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize('trust', [False, True])
def test_a_cut_file(tmp_path, whole, share, trust):
    (tmp_path / 'cut.pth').write_bytes(whole[:int(share * len(whole))])
    with pytest.raises(CheckpointError, match=r'cut\.pth: the checkpoint is cut off or damaged \(\d+ bytes; '):
        safe_load(tmp_path / 'cut.pth', trust=trust)


def test_a_file_without_its_last_byte(tmp_path, whole):
    (tmp_path / 'cut.pth').write_bytes(whole[:-1])
    with pytest.raises(CheckpointError, match='cut off or damaged'):
        safe_load(tmp_path / 'cut.pth')


def test_a_cut_legacy_file(tmp_path):
    torch.save(dict(w=torch.rand(1000)), tmp_path / 'a.pth', _use_new_zipfile_serialization=False)
    data = (tmp_path / 'a.pth').read_bytes()
    for share in (0.5, 0.9):
        (tmp_path / 'cut.pth').write_bytes(data[:int(share * len(data))])
        with pytest.raises(CheckpointError, match='cut off or damaged'):
            safe_load(tmp_path / 'cut.pth')


@pytest.mark.parametrize('data', [b'\xff\xd8\xff\xe0JFIF', b'{"a": 1}', b'plain text\n', b'\0' * 100])
def test_another_kind_of_file(tmp_path, data):
    (tmp_path / 'x.pth').write_bytes(data)
    with pytest.raises(CheckpointError, match=r'x\.pth: this is not a PyTorch checkpoint'):
        safe_load(tmp_path / 'x.pth')


def test_nothing_to_read(tmp_path):
    (tmp_path / 'empty.pth').write_bytes(b'')
    with pytest.raises(CheckpointError, match=r'empty\.pth: the checkpoint is empty \(0 bytes\)'):
        safe_load(tmp_path / 'empty.pth')
    with pytest.raises(CheckpointError, match=r'missing\.pth: no such checkpoint file'):
        safe_load(tmp_path / 'missing.pth')
    with pytest.raises(CheckpointError, match='is a folder'):
        safe_load(tmp_path)


def test_streams(whole):
    assert len(safe_load(io.BytesIO(whole))['state_dict']) == 5
    with pytest.raises(CheckpointError, match=r'url: cannot be read as a checkpoint'):
        safe_load(io.BytesIO(whole[:100]), name='url')
