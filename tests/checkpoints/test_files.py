import os
import shutil
import time
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from cxrdet.checkpoints.files import (
    check_resumable,
    find_resumable,
    install_safe_loader,
    load_model_weights,
    read_checkpoint,
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
    monkeypatch.setattr('cxrdet.checkpoints.files.print_log', lambda text, logger, level: texts.append(text))
    return texts


class TestRead:
    def test_a_list_is_no_checkpoint(self, tmp_path):
        torch.save([1], tmp_path / 'a.pth')
        with pytest.raises(CheckpointError, match=r'a\.pth: a checkpoint holds a dict, this file holds a list'):
            read_checkpoint(tmp_path / 'a.pth')


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
        assert find_resumable(folder) == folder / 'epoch_2.pth'

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
        assert find_resumable(folder) == folder / 'epoch_2.pth'
        assert 'epoch_3.pth' in ' '.join(log)

    @pytest.mark.parametrize('text', ['', '\0\0\0', '/nowhere/epo', None])
    def test_a_torn_pointer(self, folder, text):
        if text is None:
            (folder / 'last_checkpoint').unlink()
        else:
            (folder / 'last_checkpoint').write_text(text)
        assert find_resumable(folder) == folder / 'epoch_3.pth'

    def test_leftovers_are_no_checkpoints(self, folder):
        save(folder / '.epoch_4.99-0123abcd.tmp.pth')
        (folder / 'last_checkpoint').unlink()
        assert find_resumable(folder) == folder / 'epoch_3.pth'

    def test_a_moved_folder(self, folder, tmp_path_factory):
        moved = tmp_path_factory.mktemp('moved') / 'run'
        folder.rename(moved)
        assert find_resumable(moved) == moved / 'epoch_3.pth'

    def test_a_copied_folder_goes_on_from_its_own(self, folder, tmp_path_factory):
        copy = Path(shutil.copytree(folder, tmp_path_factory.mktemp('copy') / 'run'))
        save(folder / 'epoch_4.pth')  # the original went on
        assert find_resumable(copy) == copy / 'epoch_3.pth'
        (copy / 'epoch_3.pth').write_bytes(b'PK\x03\x04')
        assert find_resumable(copy) == copy / 'epoch_2.pth'
        (copy / 'epoch_3.pth').unlink()
        assert find_resumable(copy) == copy / 'epoch_2.pth'

    def test_checkpoints_in_another_folder(self, folder, tmp_path_factory, log):
        out_dir = tmp_path_factory.mktemp('out')
        for epoch in (1, 2):
            save(out_dir / f'iter_{epoch}.pth')
        (folder / 'last_checkpoint').write_text(str(out_dir / 'iter_2.pth'))
        assert find_resumable(folder) == out_dir / 'iter_2.pth'
        (out_dir / 'iter_2.pth').write_bytes(b'PK\x03\x04')
        assert find_resumable(folder) == out_dir / 'iter_1.pth'

    def test_weights_only_are_not_resumable(self, folder, log):
        torch.save(dict(meta={}, state_dict={}), folder / 'epoch_3.pth')
        assert find_resumable(folder) == folder / 'epoch_2.pth'
        assert 'lacks message_hub, optimizer' in ' '.join(log)

    def test_code_is_not_passed_over(self, folder):
        save(folder / 'epoch_3.pth', meta=Evil(folder / 'run'))
        with pytest.raises(CheckpointError, match=r'epoch_3\.pth.*--trust-checkpoint'):
            find_resumable(folder)
        assert find_resumable(folder, trust=True) == folder / 'epoch_3.pth'


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
        assert load_model_weights(model, path) == dict(dataset_meta=dict(classes=('a', 'b')))
        assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())

    def test_a_plain_state_dict_with_the_prefix_of_a_parallel_model(self, model, tmp_path):
        torch.save({f'module.{key}': value for key, value in model.state_dict().items()}, tmp_path / 'a.pth')
        assert load_model_weights(model, tmp_path / 'a.pth') == {}

    def test_a_wrapped_model(self, model, path):
        from mmengine.model import BaseTTAModel

        class TTA(BaseTTAModel):
            def merge_preds(self, data_samples_list):
                return data_samples_list
        wrapped = TTA.__new__(TTA)
        nn.Module.__init__(wrapped)
        wrapped.module = model
        load_model_weights(wrapped, path)

    def test_counters_of_batch_norm_may_be_missing(self, model, tmp_path):
        weights = {key: value for key, value in model.state_dict().items() if 'tracked' not in key}
        load_model_weights(model, save(tmp_path / 'a.pth', state_dict=weights))

    def test_missing(self, model, tmp_path):
        path = save(tmp_path / 'a.pth', state_dict={'conv.weight': torch.zeros(4, 3, 1, 1), 'head.w': torch.zeros(1)})
        with pytest.raises(CheckpointError, match=(
                r'a\.pth: these are the weights of another model than this Sequential: 7 of 9 entries are missing in '
                r'the file \(conv\.bias; norm\.weight; norm\.bias; and 4 more\)\. 1 of 2 entries are not in the model '
                r'\(head\.w\)\. Use the config')):
            load_model_weights(model, path)

    def test_another_number_of_classes(self, model, path):
        model.fc = nn.Linear(4, 11)
        with pytest.raises(CheckpointError, match=(
                r'2 of 9 entries have another shape \(fc\.weight: \(2, 4\) in the file, \(11, 4\) in the model; '
                r'fc\.bias: .*The file was trained on 2 classes')):
            load_model_weights(model, path)

    def test_a_run_is_not_resumed_from_another_model(self, model, path):
        content = read_checkpoint(path)
        check_resumable(model, content, 'a.pth')
        model.fc = nn.Linear(4, 11)
        with pytest.raises(CheckpointError, match=r'a\.pth: these are the weights of another.*2 of 9 entries have'):
            check_resumable(model, content, 'a.pth')
        with pytest.raises(CheckpointError, match=r'3 of 3 entries are missing.*9 of 9 entries are not in the model'):
            check_resumable(nn.Sequential(nn.PReLU(), nn.Linear(1, 1)), content, 'a.pth')

    def test_unused_entries_are_counted(self, model, tmp_path, log):
        weights = {**model.state_dict(), **{f'teacher.{i}': torch.zeros(1) for i in range(5)}}
        load_model_weights(model, save(tmp_path / 'a.pth', state_dict=weights))
        assert '5 of 14 entries are not in the model (teacher.0; teacher.1; teacher.2; and 2 more).' in ' '.join(log)

    @pytest.mark.parametrize('content', [{}, dict(epoch=3, lr=0.1), dict(state_dict={})])
    def test_no_weights(self, model, tmp_path, content):
        torch.save(content, tmp_path / 'a.pth')
        with pytest.raises(CheckpointError, match=r'neither a "state_dict" nor tensors in it; it holds the keys'):
            load_model_weights(model, tmp_path / 'a.pth')

    def test_an_old_layout_is_converted_by_its_module(self, tmp_path):
        class Renamed(nn.Linear):
            _version = 2

            def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args):
                if local_metadata.get('version', 1) < 2:
                    state_dict[f'{prefix}weight'] = state_dict.pop(f'{prefix}kernel')
                super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)
        model = nn.Sequential(Renamed(2, 1))
        load_model_weights(model, save(tmp_path / 'a.pth', state_dict={
            '0.kernel': torch.ones(1, 2), '0.bias': torch.ones(1)}))
        assert model[0].weight.tolist() == [[1, 1]]
        path = save(tmp_path / 'b.pth', state_dict=model.state_dict())
        load_model_weights(model, path)
