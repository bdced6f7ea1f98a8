"""The hook on a stand-in of the runner that saves a number; whole runs are in tests/engine/test_resume.py."""
import hashlib
import logging
import os
import zipfile
from types import SimpleNamespace

import pytest
import torch

from cxrdet.checkpoints.checkpoint import Checkpoint
from cxrdet.core.errors import ConfigError
from cxrdet.engine.hooks.checkpoint import CheckpointHook


class Hub:
    def __init__(self):
        self.runtime_info = {}

    def get_info(self, key):
        return self.runtime_info[key]

    def update_info(self, key, value):
        self.runtime_info[key] = value


class Runner:
    """What the hook uses of a Runner."""
    _resume = False
    max_epochs = 5

    def __init__(self, work_dir):
        self.work_dir, self.message_hub, self.logger = str(work_dir), Hub(), logging.getLogger('toy')
        self.epoch = self.iter = 0
        self.train_loop = SimpleNamespace(stop_training=False)

    def save_checkpoint(self, out_dir, filename, file_client_args, *, save_optimizer, save_param_scheduler, meta,
                        by_epoch, backend_args):
        from mmengine.runner import save_checkpoint
        save_checkpoint(dict(meta=meta, info=dict(self.message_hub.runtime_info), state_dict={}, optimizer={}),
                        os.path.join(out_dir, filename), backend_args=backend_args)


def run(hook, runner, epochs, scores=None):
    hook.before_train(runner)
    for epoch in range(runner.epoch, epochs):
        hook.after_train_epoch(runner)
        runner.epoch = epoch + 1
        if scores:
            hook.after_val_epoch(runner, scores[epoch])
    hook.after_train(runner)


def names(folder):
    return sorted(os.listdir(folder))


@pytest.mark.parametrize('keep', [1, 2])
def test_old_ones_go_after_the_new_one_stands(tmp_path, keep, monkeypatch):
    runner = Runner(tmp_path)
    remove, seen = os.remove, []

    def watched(path):
        seen.append((os.path.basename(path), names(tmp_path), (tmp_path / 'last_checkpoint').read_text()))
        remove(path)
    monkeypatch.setattr(os, 'remove', watched)
    run(CheckpointHook(interval=1, max_keep_ckpts=keep), runner, 4)
    last = {f'epoch_{epoch}.pth' for epoch in range(5 - keep, 5)}
    assert set(names(tmp_path)) == last | {'last_checkpoint'}
    assert len(seen) == 4 - keep
    for number, (removed, there, pointed) in enumerate(seen, start=1):
        assert removed == f'epoch_{number}.pth'
        assert pointed == str(tmp_path / f'epoch_{number + keep}.pth')
        assert os.path.basename(pointed) in there


def test_the_best_one_goes_after_a_better_one_stands(tmp_path, monkeypatch):
    runner, hook = Runner(tmp_path), CheckpointHook(interval=1, save_best='mAP', rule='greater')
    remove, seen = os.remove, []
    monkeypatch.setattr(os, 'remove', lambda path: (seen.append(names(tmp_path)), remove(path)))
    run(hook, runner, 4, [dict(mAP=score) for score in (0.1, 0.3, 0.2, 0.4)])
    assert [name for name in names(tmp_path) if 'best' in name] == ['best_mAP_epoch_4.pth']
    assert [[name for name in there if 'best' in name] for there in seen] == [
        ['best_mAP_epoch_1.pth', 'best_mAP_epoch_2.pth'], ['best_mAP_epoch_2.pth', 'best_mAP_epoch_4.pth']]
    assert runner.message_hub.get_info('best_score') == 0.4
    assert hook.best_ckpt_path == str(tmp_path / 'best_mAP_epoch_4.pth')


def test_several_best_ones(tmp_path):
    hook = CheckpointHook(interval=-1, save_last=False, save_best=['mAP', 'loss'])
    run(hook, Runner(tmp_path), 3, [dict(mAP=a, loss=b) for a, b in ((0.1, 3), (0.3, 4), (0.2, 2))])
    assert names(tmp_path) == ['best_loss_epoch_3.pth', 'best_mAP_epoch_2.pth']


def test_the_name_of_a_metric_says_what_is_better(tmp_path):
    metrics = ('multi-label/AUROC_mean', 'multi-label/ECE', 'multi-label/AP_mean', 'froc/mean')
    hook = CheckpointHook(interval=-1, save_last=False, save_best=list(metrics))
    run(hook, Runner(tmp_path), 2, [dict.fromkeys(metrics, score) for score in (0.1, 0.3)])
    assert hook.rules == ['greater', 'less', 'greater', 'greater']
    assert {name: path.rpartition('_')[2] for name, path in hook.best_ckpt_path_dict.items()} == {
        name: '1.pth' if name == 'multi-label/ECE' else '2.pth' for name in metrics}
    with pytest.raises(ValueError, match='Cannot infer the rule for key toy/score'):
        CheckpointHook(save_best='toy/score')


def test_the_first_metric(tmp_path):
    runner = Runner(tmp_path)
    scores = [dict(mAP=score) for score in (0.1, 0.3, 0.2, 0.4)]
    run(CheckpointHook(interval=1, save_best='auto', max_keep_ckpts=1), runner, 2, scores)
    run(CheckpointHook(interval=1, save_best='auto', max_keep_ckpts=1), runner, 3, scores)  # resumed; not better
    assert [name for name in names(tmp_path) if 'best' in name] == ['best_mAP_epoch_2.pth']
    run(CheckpointHook(interval=1, save_best='auto', max_keep_ckpts=1), runner, 4, scores)
    assert [name for name in names(tmp_path) if 'best' in name] == ['best_mAP_epoch_4.pth']


def test_a_metric_that_is_not_there(tmp_path):
    hook = CheckpointHook(interval=1, save_best='coco/bbox_map', rule='greater')
    with pytest.raises(ConfigError, match='save_best .*"coco/bbox_map".*"coco/bbox_mAP"'):
        run(hook, Runner(tmp_path), 1, [{'coco/bbox_mAP': 0.5, 'loss': 1}])


def test_the_checkpoint_is_not_written_again_for_a_new_best(tmp_path):
    run(CheckpointHook(interval=1, save_best='mAP', rule='greater'), Runner(tmp_path), 1, [dict(mAP=0.5)])
    assert 'best_score' not in torch.load(tmp_path / 'epoch_1.pth', weights_only=True)['info']


def test_no_space_on_the_disk(tmp_path, monkeypatch):
    runner, hook = Runner(tmp_path), CheckpointHook(interval=1, max_keep_ckpts=1, save_best='mAP', rule='greater')
    run(hook, runner, 1, [dict(mAP=0.1)])
    before = names(tmp_path)

    def full(descriptor):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='No space left'):
        hook.after_train_epoch(runner)
    with pytest.raises(OSError, match='No space left'):
        hook.after_val_epoch(runner, dict(mAP=0.2))
    assert names(tmp_path) == before


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    (tmp_path / f'.epoch_3.{os.getpid()}-0123abcd.tmp.pth').write_bytes(b'half')
    (tmp_path / 'mine.tmp').write_text('not ours')
    run(CheckpointHook(interval=1), Runner(tmp_path), 0)
    assert names(tmp_path) == ['mine.tmp']


def test_published_models(tmp_path):
    hook = CheckpointHook(interval=1, save_best='mAP', rule='greater', published_keys=['state_dict', 'meta'])
    run(hook, Runner(tmp_path), 1, [dict(mAP=0.5)])
    published = [name for name in names(tmp_path) if '-' in name]
    assert [name.partition('-')[0] for name in published] == ['best_mAP_epoch_1', 'epoch_1']
    assert set(torch.load(tmp_path / published[0], weights_only=True)) == {'state_dict', 'meta'}


def test_checkpoints_hold_a_digest(tmp_path):
    hook = CheckpointHook(interval=1, save_best='mAP', rule='greater', published_keys=['info'])
    run(hook, Runner(tmp_path), 1, [dict(mAP=0.5)])
    files = sorted(tmp_path.glob('*.pth'))
    assert len(files) == 4  # two of them published
    for path in files:
        with zipfile.ZipFile(path) as archive:
            assert sum(name.endswith('/.digest') for name in archive.namelist()) == 1
            assert archive.testzip() is None
        assert 'info' in Checkpoint.read(path).content
        if '-' in path.stem:
            assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(path.stem.partition('-')[2])


def test_another_folder(tmp_path):
    run(CheckpointHook(interval=1, out_dir=str(tmp_path / 'out')), Runner(tmp_path / 'work' / 'run'), 1)
    assert names(tmp_path / 'out' / 'run') == ['epoch_1.pth']
    assert (tmp_path / 'work' / 'run' / 'last_checkpoint').read_text() == str(tmp_path / 'out' / 'run' / 'epoch_1.pth')


def test_a_folder_whose_name_is_no_text(tmp_path):
    folder = tmp_path / os.fsdecode(b'run \xff')
    run(CheckpointHook(interval=1), Runner(folder), 1)
    assert (folder / 'last_checkpoint').read_bytes() == os.fsencode(folder / 'epoch_1.pth')
