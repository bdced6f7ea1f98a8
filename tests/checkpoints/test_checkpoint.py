"""Checkpoints: read without executing what is pickled in them, asked for what they hold, found and loaded."""
import os
import pickle
import re
import shutil
import time
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.optim import OneCycleLR
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import Runner
from mmengine.runner.checkpoint import load_state_dict
from torch import nn

from cxrdet.checkpoints.checkpoint import (
    Checkpoint,
    check_share,
    find_resumable,
    install_safe_loader,
    reading_ahead,
    recorded_loads,
)
from cxrdet.core.errors import CheckpointError


class Evil:
    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.system, (f'touch {self.target}',)


def save(path, **parts):
    torch.save({**dict(meta={}, state_dict={}, message_hub={}, optimizer={}), **parts}, path)
    return path


@pytest.fixture
def log(monkeypatch):
    """The texts of the warnings."""
    texts = []
    monkeypatch.setattr('cxrdet.checkpoints.checkpoint.print_log', lambda text, logger, level: texts.append(text))
    return texts


class Opening(Evil):
    def __reduce__(self):
        return open, (self.target, 'w')


class TestRead:
    def test_a_list_is_no_checkpoint(self, tmp_path):
        torch.save([1], tmp_path / 'a.pth')
        with pytest.raises(CheckpointError, match=r'a\.pth: a checkpoint holds a dict, this file holds a list'):
            Checkpoint.read(tmp_path / 'a.pth')


    @pytest.mark.parametrize('trust', [False, True])
    @pytest.mark.parametrize('beside', [[], ['epoch_1.pth', 'epoch_2.pth', 'best_mAP_epoch_2.pth']])
    def test_the_newest_whole_one_beside_a_damaged_one_is_named(self, tmp_path, beside, trust):
        for name in [*beside, 'epoch_3.pth', 'epoch_4.pth']:
            save(tmp_path / name, state_dict=dict(w=torch.ones(100)))
        for name in ('epoch_3.pth', 'epoch_4.pth'):
            data = bytearray((tmp_path / name).read_bytes())
            data[data.index(torch.ones(9).numpy().tobytes())] ^= 1
            (tmp_path / name).write_bytes(data)
        hint = r'The newest whole one beside it is \S*epoch_2\.pth' if beside else 'Take another one'
        with pytest.raises(CheckpointError, match=rf'epoch_4\.pth: the checkpoint is cut off or damaged.*{hint}'):
            Checkpoint.read(tmp_path / 'epoch_4.pth', trust=trust)


class TestReadOnce:
    @pytest.fixture
    def opened(self, monkeypatch):
        """The files that were opened for reading."""
        from cxrdet.checkpoints import checkpoint as module
        names = []
        monkeypatch.setattr(module, 'open', lambda file, mode: names.append(Path(file).name) or open(file, mode),
                            raising=False)
        return names

    def test_what_was_read_ahead_is_read_once(self, tmp_path, opened):
        path = save(tmp_path / 'a.pth', meta=dict(epoch=1))
        with reading_ahead():
            first = Checkpoint.read(path)
        assert Checkpoint.read(path) is first
        assert opened == ['a.pth']
        assert Checkpoint.read(path) is not first
        first.keep()
        assert Checkpoint.read(str(path)) is first
        assert opened == ['a.pth'] * 2

    def test_a_file_that_has_changed_or_is_to_be_trusted_is_read_again(self, tmp_path, opened):
        path = save(tmp_path / 'a.pth', meta=dict(epoch=1))
        for change in (lambda: save(path, meta=dict(epoch=22)), lambda: None):
            with reading_ahead():
                Checkpoint.read(path)
            change()
            trust = not opened[1:]
            assert Checkpoint.read(path, trust=trust).meta['epoch'] == 22
        assert len(opened) == 3


class TestAttributes:
    def test_all_of_them(self, tmp_path):
        points = dict(thresholds=dict(youden=[0.5]))
        path = save(tmp_path / 'a.pth', state_dict={'module.w': torch.ones(1)}, history=[1], meta=dict(
            dataset_meta=dict(CLASSES=('a', 'b')), operating_points=points, precision='bf16', cfg='x = 1', epoch=1,
            iter=2))
        found = Checkpoint.read(path)
        assert (found.source, found.classes, found.needed_classes) == (str(path), ('a', 'b'), ('a', 'b'))
        assert (found.operating_points, found.precision, found.config_text) == (points, 'bf16', 'x = 1')
        assert found.weights == {'w': torch.ones(1)}
        found.check_resumable()
        assert found.is_finite
        assert not Checkpoint(dict(state_dict=dict(w=torch.tensor([float('nan')]))), 'x').is_finite

    def test_none_of_them(self):
        found = Checkpoint(dict(w=torch.ones(1)), 'a.pth')
        assert (found.meta, found.classes, found.operating_points, found.precision, found.config_text) == (
            {}, None, None, None, None)
        with pytest.raises(CheckpointError, match=r'a\.pth: it does not say its classes'):
            _ = found.needed_classes
        with pytest.raises(CheckpointError, match=r'a\.pth: the checkpoint lacks meta, state_dict, message_hub, optim'):
            found.check_resumable()
        assert Checkpoint(dict(meta=dict(dataset_meta=dict(classes='cell'))), 'x').classes == ('cell',)


class TestInstall:
    @pytest.fixture(autouse=True)
    def restored(self, monkeypatch):
        from mmengine.runner import checkpoint
        monkeypatch.setattr(checkpoint.CheckpointLoader, '_schemes', dict(checkpoint.CheckpointLoader._schemes))
        for name in ('_safe_torch_load', 'load_url'):
            monkeypatch.setattr(checkpoint, name, getattr(checkpoint, name))

    def load(self, source, kind):
        from mmengine.model import BaseModule
        from mmengine.runner.checkpoint import load_checkpoint
        if kind == 'load_from':
            return load_checkpoint(nn.Linear(2, 1), source)

        class Part(BaseModule):
            def __init__(self):
                super().__init__(init_cfg=dict(type='Pretrained', checkpoint=source))
                self.linear = nn.Linear(2, 1)
        return Part().init_weights()

    @pytest.mark.parametrize('kind', ['load_from', 'init_cfg'])
    def test_mmengine_reads_safely(self, tmp_path, kind):
        path = str(save(tmp_path / 'evil.pth', meta=Evil(tmp_path / 'run')))
        install_safe_loader()
        with pytest.raises(CheckpointError, match=r'evil\.pth.*posix\.system.*--trust-checkpoint'):
            self.load(path, kind)
        assert not (tmp_path / 'run').exists()
        install_safe_loader(trust=True)
        self.load(path, kind)
        assert (tmp_path / 'run').exists()

    def test_a_downloaded_file(self, tmp_path, monkeypatch):
        monkeypatch.setenv('TORCH_HOME', str(tmp_path))
        (tmp_path / 'hub' / 'checkpoints').mkdir(parents=True)
        save(tmp_path / 'hub' / 'checkpoints' / 'evil.pth', meta=Evil(tmp_path / 'run'))
        install_safe_loader()
        with pytest.raises(CheckpointError, match=r'evil\.pth.*posix\.system'):
            self.load('https://example.org/models/evil.pth?x=1', 'load_from')
        with monkeypatch.context() as patch:
            patch.setattr('torch.hub.download_url_to_file',
                          lambda url, path, **_: save(path, state_dict=nn.Linear(2, 1).state_dict()))
            read = self.load('https://example.org/models/good.pth', 'load_from')
        assert set(read['state_dict']) == {'weight', 'bias'}
        assert not (tmp_path / 'run').exists()

    def test_a_missing_file(self, tmp_path):
        install_safe_loader()
        with pytest.raises(CheckpointError, match='no such checkpoint file'):
            self.load(str(tmp_path / 'none.pth'), 'load_from')


class TestFindResumable:
    @pytest.fixture
    def folder(self, tmp_path):
        for epoch in (1, 2, 3):
            save(tmp_path / f'epoch_{epoch}.pth')
            os.utime(tmp_path / f'epoch_{epoch}.pth', (time.time(), 1000 + epoch))
        save(tmp_path / 'best_mAP_epoch_2.pth')
        (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_3.pth'))
        return tmp_path

    def test_the_pointer_decides(self, folder):
        (folder / 'last_checkpoint').write_text(str(folder / 'epoch_2.pth'))  # a new run in a used folder
        assert find_resumable(folder).source == str(folder / 'epoch_2.pth')

    def test_no_checkpoint(self, tmp_path):
        assert find_resumable(tmp_path) is None
        assert find_resumable(tmp_path / 'missing') is None
        save(tmp_path / 'best_mAP_epoch_2.pth')
        assert find_resumable(tmp_path) is None

    @pytest.mark.parametrize('damage', ['cut', 'empty', 'missing', 'zeros'])
    def test_a_torn_file_is_passed_over_and_said_so(self, folder, damage, log):
        path = folder / 'epoch_3.pth'
        data = path.read_bytes()
        if damage == 'missing':
            path.unlink()
        else:
            path.write_bytes({'cut': data[:len(data) // 2], 'empty': b'', 'zeros': b'\0' * len(data)}[damage])
        assert find_resumable(folder).source == str(folder / 'epoch_2.pth')
        assert 'epoch_3.pth' in ' '.join(log)

    @pytest.mark.parametrize('text', ['', '\0\0\0', '/nowhere/epo', None])
    def test_a_torn_pointer(self, folder, text):
        if text is None:
            (folder / 'last_checkpoint').unlink()
        else:
            (folder / 'last_checkpoint').write_text(text)
        assert find_resumable(folder).source == str(folder / 'epoch_3.pth')

    def test_leftovers_are_no_checkpoints(self, folder):
        save(folder / '.epoch_4.99-0123abcd.tmp.pth')
        (folder / 'last_checkpoint').unlink()
        assert find_resumable(folder).source == str(folder / 'epoch_3.pth')

    def test_a_moved_folder(self, folder, tmp_path_factory):
        moved = tmp_path_factory.mktemp('moved') / 'run'
        folder.rename(moved)
        assert find_resumable(moved).source == str(moved / 'epoch_3.pth')

    def test_a_copied_folder_goes_on_from_its_own(self, folder, tmp_path_factory):
        copy = Path(shutil.copytree(folder, tmp_path_factory.mktemp('copy') / 'run'))
        save(folder / 'epoch_4.pth')  # the original went on
        assert find_resumable(copy).source == str(copy / 'epoch_3.pth')
        (copy / 'epoch_3.pth').write_bytes(b'PK\x03\x04')
        assert find_resumable(copy).source == str(copy / 'epoch_2.pth')
        (copy / 'epoch_3.pth').unlink()
        assert find_resumable(copy).source == str(copy / 'epoch_2.pth')

    def test_checkpoints_in_another_folder(self, folder, tmp_path_factory, log):
        out_dir = tmp_path_factory.mktemp('out')
        for epoch in (1, 2):
            save(out_dir / f'iter_{epoch}.pth')
        (folder / 'last_checkpoint').write_text(str(out_dir / 'iter_2.pth'))
        assert find_resumable(folder).source == str(out_dir / 'iter_2.pth')
        (out_dir / 'iter_2.pth').write_bytes(b'PK\x03\x04')
        assert find_resumable(folder).source == str(out_dir / 'iter_1.pth')

    def test_a_run_that_was_killed_before_it_wrote_the_pointer(self, folder):
        save(folder / 'epoch_4.pth')
        os.utime(folder / 'last_checkpoint', (1000, 1000))
        assert find_resumable(folder).source == str(folder / 'epoch_4.pth')
        assert (folder / 'last_checkpoint').read_text() == str(folder / 'epoch_4.pth')
        (folder / 'last_checkpoint').write_text(str(folder / 'epoch_3.pth'))
        os.utime(folder / 'last_checkpoint', (1000, 1000))
        (folder / 'epoch_4.pth').write_bytes(b'PK\x03\x04')  # or while it wrote, elsewhere than here
        assert find_resumable(folder).source == str(folder / 'epoch_3.pth')
        (folder / 'last_checkpoint').write_text(str(folder / 'epoch_3.pth'))
        save(folder / 'iter_9.pth')
        assert find_resumable(folder).source == str(folder / 'epoch_3.pth')

    def test_weights_only_are_not_resumable(self, folder, log):
        torch.save(dict(meta={}, state_dict={}), folder / 'epoch_3.pth')
        assert find_resumable(folder).source == str(folder / 'epoch_2.pth')
        assert 'lacks message_hub, optimizer' in ' '.join(log)

    def test_code_is_not_passed_over(self, folder):
        save(folder / 'epoch_3.pth', meta=Evil(folder / 'run'))
        with pytest.raises(CheckpointError, match=r'epoch_3\.pth.*--trust-checkpoint'):
            find_resumable(folder)
        assert find_resumable(folder, trust=True).source == str(folder / 'epoch_3.pth')


class TestLoadModelWeights:
    @pytest.fixture
    def model(self):
        return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 1), norm=nn.BatchNorm2d(4), fc=nn.Linear(4, 2)))

    @pytest.fixture
    def path(self, model, tmp_path):
        weights = {key: value + 1 for key, value in model.state_dict().items()}
        return save(tmp_path / 'a.pth', state_dict=weights, meta=dict(dataset_meta=dict(classes=('a', 'b'))))

    def test_fitting(self, model, path):
        expected = {key: value + 1 for key, value in model.state_dict().items()}
        Checkpoint.read(path).load_into(model)
        assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())

    def test_a_plain_state_dict_with_the_prefix_of_a_parallel_model(self, model, tmp_path):
        torch.save({f'module.{key}': value for key, value in model.state_dict().items()}, tmp_path / 'a.pth')
        checkpoint = Checkpoint.read(tmp_path / 'a.pth')
        checkpoint.load_into(model)
        assert checkpoint.meta == {}

    def test_a_wrapped_model(self, model, path):
        from mmengine.model import BaseTTAModel

        class TTA(BaseTTAModel):
            def merge_preds(self, data_samples_list):
                return data_samples_list
        wrapped = TTA.__new__(TTA)
        nn.Module.__init__(wrapped)
        wrapped.module = model
        Checkpoint.read(path).load_into(wrapped)

    def test_counters_of_batch_norm_may_be_missing(self, model, tmp_path):
        weights = {key: value for key, value in model.state_dict().items() if 'tracked' not in key}
        Checkpoint.read(save(tmp_path / 'a.pth', state_dict=weights)).load_into(model)

    def test_missing(self, model, tmp_path):
        path = save(tmp_path / 'a.pth', state_dict={'conv.weight': torch.zeros(4, 3, 1, 1), 'head.w': torch.zeros(1)})
        with pytest.raises(CheckpointError, match=(
                r'a\.pth: .* than this Sequential: 7 of 9 .*conv\.bias.*1 of 2 .*head\.w')):
            Checkpoint.read(path).load_into(model)

    def test_another_number_of_classes(self, model, path):
        model.fc = nn.Linear(4, 11)
        with pytest.raises(CheckpointError, match=(
                r'2 of 9 .*fc\.weight: \(2, 4\) .*\(11, 4\) .*fc\.bias: .*2 classes')):
            Checkpoint.read(path).load_into(model)

    def test_a_run_is_not_resumed_from_another_model(self, model, path):
        checkpoint = Checkpoint.read(path)
        checkpoint.check_model(model)
        model.fc = nn.Linear(4, 11)
        with pytest.raises(CheckpointError, match=r'a\.pth: these are the weights of another.*2 of 9 entries have'):
            checkpoint.check_model(model)
        with pytest.raises(CheckpointError, match=r'3 of 3 entries are missing.*9 of 9 entries are not in the model'):
            checkpoint.check_model(nn.Sequential(nn.PReLU(), nn.Linear(1, 1)))

    def test_unused_entries_are_counted(self, model, tmp_path, log):
        weights = {**model.state_dict(), **{f'teacher.{i}': torch.zeros(1) for i in range(5)}}
        Checkpoint.read(save(tmp_path / 'a.pth', state_dict=weights)).load_into(model)
        assert '5 of 14 entries are not in the model (teacher.0; teacher.1; teacher.2; and 2 more).' in ' '.join(log)

    @pytest.mark.parametrize('content', [{}, dict(epoch=3, lr=0.1), dict(state_dict={})])
    def test_no_weights(self, model, tmp_path, content):
        torch.save(content, tmp_path / 'a.pth')
        with pytest.raises(CheckpointError, match=r'neither a "state_dict" nor tensors in it; it holds the keys'):
            Checkpoint.read(tmp_path / 'a.pth').load_into(model)

    def test_an_old_layout_is_converted_by_its_module(self, tmp_path):
        class Renamed(nn.Linear):
            _version = 2

            def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args):
                if local_metadata.get('version', 1) < 2:
                    state_dict[f'{prefix}weight'] = state_dict.pop(f'{prefix}kernel')
                super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)
        model = nn.Sequential(Renamed(2, 1))
        Checkpoint.read(save(tmp_path / 'a.pth', state_dict={
            '0.kernel': torch.ones(1, 2), '0.bias': torch.ones(1)})).load_into(model)
        assert model[0].weight.tolist() == [[1, 1]]
        path = save(tmp_path / 'b.pth', state_dict=model.state_dict())
        Checkpoint.read(path).load_into(model)


# --- what a file may hold


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
    read = Checkpoint.read(tmp_path / 'a.pth').content
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
    assert Checkpoint.read(other).content['array'].tolist() == [0, 1, 2]
    assert Checkpoint.read(other).content['number'] == 2


def _rewrite(source: Path, target: Path, change) -> None:
    """Write the archive again with another pickle inside."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, 'w') as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(data) if name.endswith('data.pkl') else data)


@pytest.mark.parametrize('file_format', ['zip', 'legacy', 'plain pickle'])
@pytest.mark.parametrize(('kind', 'named'), [(Evil, 'posix.system'), (Opening, 'open')])
def test_code_is_refused_and_not_run(tmp_path, kind, named, file_format):
    path, target = tmp_path / 'evil.pth', tmp_path / 'run'
    content = dict(state_dict={}, meta=kind(target))
    if file_format == 'plain pickle':
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=file_format == 'zip')
    with pytest.raises(CheckpointError, match=rf'evil\.pth: .*executed \(.*{named}\).*--trust-checkpoint'):
        Checkpoint.read(path)
    assert not target.exists()


def test_code_is_run_for_those_who_trust(tmp_path):
    torch.save(dict(meta=Evil(tmp_path / 'run')), tmp_path / 'a.pth')
    Checkpoint.read(tmp_path / 'a.pth', trust=True)
    assert (tmp_path / 'run').exists()


def test_getattr_gives_the_statistics_only(tmp_path):
    torch.save(dict(a=GetAttribute()), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r'executed \(getattr\(HistoryBuffer,__init__\)\)'):
        Checkpoint.read(tmp_path / 'a.pth')


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
    state, = Checkpoint.read(tmp_path / 'a.pth').content['param_schedulers']
    assert state == scheduler.state_dict()
    assert state['anneal_func'](0.0, 1.0, 0.5) == pytest.approx(0.5)


@pytest.mark.parametrize('call', [
    (OneCycleParamScheduler, ()), (getattr, (OneCycleParamScheduler, '__init__')),
    (getattr, (OneCycleParamScheduler, '_get_value')), (getattr, (OneCycleParamScheduler, '__globals__')),
    (getattr, (OneCycleLR, '_annealing_cos'))])
def test_nothing_else_of_one_cycle_is_given(tmp_path, call):
    torch.save(dict(a=Called(*call)), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r'a\.pth: .*executed \(.*OneCycle'):
        Checkpoint.read(tmp_path / 'a.pth')


def test_an_unknown_class_is_refused_by_name(tmp_path):
    torch.save(dict(a=Path('x')), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r'executed \(pathlib\S*Path\)'):
        Checkpoint.read(tmp_path / 'a.pth')


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
        Checkpoint.read(tmp_path / 'cut.pth', trust=trust)


def test_a_file_without_its_last_byte(tmp_path, whole):
    (tmp_path / 'cut.pth').write_bytes(whole[:-1])
    with pytest.raises(CheckpointError, match='cut off or damaged'):
        Checkpoint.read(tmp_path / 'cut.pth')


def test_a_cut_legacy_file(tmp_path):
    torch.save(dict(w=torch.rand(1000)), tmp_path / 'a.pth', _use_new_zipfile_serialization=False)
    data = (tmp_path / 'a.pth').read_bytes()
    for share in (0.5, 0.9):
        (tmp_path / 'cut.pth').write_bytes(data[:int(share * len(data))])
        with pytest.raises(CheckpointError, match='cut off or damaged'):
            Checkpoint.read(tmp_path / 'cut.pth')


@pytest.mark.parametrize('data', [b'\xff\xd8\xff\xe0JFIF', b'{"a": 1}', b'plain text\n', b'\0' * 100])
def test_another_kind_of_file(tmp_path, data):
    (tmp_path / 'x.pth').write_bytes(data)
    with pytest.raises(CheckpointError, match=r'x\.pth: this is not a PyTorch checkpoint'):
        Checkpoint.read(tmp_path / 'x.pth')


def test_nothing_to_read(tmp_path):
    (tmp_path / 'empty.pth').write_bytes(b'')
    with pytest.raises(CheckpointError, match=r'empty\.pth: the checkpoint is empty \(0 bytes\)'):
        Checkpoint.read(tmp_path / 'empty.pth')
    with pytest.raises(CheckpointError, match=r'missing\.pth: no such checkpoint file'):
        Checkpoint.read(tmp_path / 'missing.pth')
    with pytest.raises(CheckpointError, match='is a folder'):
        Checkpoint.read(tmp_path)


# --- how much of a model a file has filled


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


# --- what MMEngine ships

ARGUMENTS = dict(  # by how the name begins
    Constant=dict(factor=0.5), CosineAnnealing=dict(T_max=4), Step=dict(step_size=2), Poly=dict(power=0.9),
    CosineRestart=dict(periods=[2, 3], restart_weights=[1, 0.5], eta_min=0.0), Exponential=dict(gamma=0.9),
    Linear=dict(), MultiStep=dict(milestones=[1, 3], gamma=0.5),
    OneCycle=dict(eta_max=0.1, total_steps=20), ReduceOnPlateau=dict(monitor='x', rule='less'))
SCHEDULERS = sorted(name for name, kind in PARAM_SCHEDULERS.module_dict.items()
                    if kind.__module__.startswith('mmengine'))


@pytest.mark.parametrize('name', SCHEDULERS)
def test_the_state_of_every_scheduler_is_read(tmp_path, name):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    arguments = ARGUMENTS[next(kind for kind in sorted(ARGUMENTS, key=len, reverse=True) if name.startswith(kind))]
    if name.endswith('ParamScheduler'):
        arguments = dict(arguments, param_name='lr')
    scheduler = PARAM_SCHEDULERS.build(dict(arguments, type=name, optimizer=optimizer))
    for step in range(3):
        optimizer.step()
        scheduler.step(dict(x=1.0 + step)) if 'Plateau' in name else scheduler.step()
    torch.save(dict(param_schedulers=[scheduler.state_dict()]), tmp_path / 'a.pth')
    state, = Checkpoint.read(tmp_path / 'a.pth').content['param_schedulers']
    assert state == scheduler.state_dict()
    assert [type(value) for value in state.values()] == [type(value) for value in scheduler.state_dict().values()]


def test_the_state_of_every_hook_is_read(tmp_path, monkeypatch):
    """A run of MMEngine's own with all of its hooks that run anywhere; the reference is the unsafe reader."""
    class Toy(BaseModel):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 1)

        def forward(self, inputs, mode='loss'):
            return dict(loss=self.linear(inputs).square().mean()) if mode == 'loss' else [inputs]

    class Score(BaseMetric):
        def process(self, data_batch, data_samples):
            self.results.append(1)

        def compute_metrics(self, results):
            return dict(score=np.float64(0.5))

    monkeypatch.setattr(Runner, '_log_env', lambda *_: None)
    loader = dict(dataset=[dict(inputs=torch.ones(2))] * 4, batch_size=2, sampler=dict(type='DefaultSampler'),
                  collate_fn=dict(type='default_collate'))
    runner = Runner(
        model=Toy(), work_dir=str(tmp_path), train_dataloader=loader, val_dataloader=loader, val_cfg=dict(),
        train_cfg=dict(by_epoch=True, max_epochs=2), val_evaluator=dict(type=Score, prefix='toy'), log_level='ERROR',
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1), accumulative_counts=2),
        param_scheduler=[dict(type='OneCycleLR', eta_max=0.1, total_steps=10, by_epoch=False),
                         dict(type='ReduceOnPlateauLR', monitor='toy/score', rule='greater')],
        custom_hooks=[dict(type='EMAHook', momentum=0.1), dict(type='EmptyCacheHook'), dict(type='SyncBuffersHook'),
                      dict(type='EarlyStoppingHook', monitor='toy/score', rule='greater')],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1, save_best='toy/score', rule='greater')),
        default_scope='mmengine', experiment_name=f'{tmp_path.name}')
    runner.train()
    for path in (tmp_path / 'epoch_2.pth', *tmp_path.glob('best_*.pth')):
        expected = torch.load(path, weights_only=False)
        found = Checkpoint.read(path)
        assert described(found.content) == described(expected)
    assert 'ema_state_dict' in expected


def described(value):
    """Nested content as something that compares by value."""
    if isinstance(value, HistoryBuffer):
        return [part.tolist() for part in value.data], value.max_length
    if isinstance(value, (torch.Tensor, np.ndarray, np.generic)):
        return type(value), str(value.dtype), value.tolist()
    if isinstance(value, dict):
        return type(value), [(key, described(part)) for key, part in value.items()]
    return (type(value), [described(part) for part in value]) if isinstance(value, (list, tuple)) else value
