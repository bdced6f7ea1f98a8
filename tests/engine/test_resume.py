"""A run that is killed anywhere goes on from a whole checkpoint and ends like an unbroken run, bit for bit."""
import signal
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

MODES = {
    'main process': {},
    'workers': dict(workers=2),
    'persistent workers': dict(workers=2, persistent=True),
    'persistent workers that live on': dict(workers=2, persistent=True, deterministic=False),
    'accumulated gradients and EMA': dict(accumulate=3, ema=True),
    'iterations': dict(by_iter=True),
    'iterations with workers': dict(by_iter=True, workers=2, persistent=True),
}


def state(folder: Path, by_iter: bool) -> dict:
    """All that a run leaves, but times and dates."""
    from cxrdet.checkpoints.checkpoint import Checkpoint
    pointer = Path((folder / 'last_checkpoint').read_text())
    assert pointer.name == ('iter_12.pth' if by_iter else 'epoch_3.pth')
    last = Checkpoint.read(folder / pointer.name).content
    best, = folder.glob('best_*.pth')
    scalars = {key: value.data[0].tolist() for key, value in last['message_hub']['log_scalars'].items()
               if 'time' not in key}
    return dict(files=sorted(path.name for path in folder.glob('*') if path.suffix == '.pth'),
                leftovers=[path.name for path in folder.glob('.*')], last=plain(last['state_dict']),
                best=plain(Checkpoint.read(best).content['state_dict']), optimizer=plain(last['optimizer']),
                schedulers=plain(last['param_schedulers']), ema=plain(last.get('ema_state_dict', {})), scalars=scalars)


def plain(tree):
    import torch
    if isinstance(tree, torch.Tensor):
        return tree.tolist()
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    return [plain(value) for value in tree] if isinstance(tree, (list, tuple)) else tree


@pytest.fixture(scope='module')
def unbroken(train, tmp_path_factory):
    made = {}

    def get(mode):
        if mode not in made:
            folder = tmp_path_factory.mktemp('unbroken')
            assert train(folder, **MODES[mode]) == 0
            made[mode] = state(folder, MODES[mode].get('by_iter', False)), (folder / 'events').read_text().split('\n')
        return made[mode]
    return get


def kill_and_go_on(train, folder, fatal, **options):
    assert train(folder, fatal, **options) == -signal.SIGKILL, 'the run was not killed'
    assert train(folder, resume=True, **options) == 0
    return state(folder, options.get('by_iter', False))


@pytest.mark.parametrize('mode', MODES)
def test_unbroken_runs_are_alike(mode, unbroken, train, tmp_path):
    assert train(tmp_path, **MODES[mode]) == 0
    assert state(tmp_path, MODES[mode].get('by_iter', False)) == unbroken(mode)[0]


@pytest.mark.parametrize('share', [0.45, 0.8])
@pytest.mark.parametrize('mode', MODES)
def test_a_killed_run_ends_like_an_unbroken_one(mode, share, unbroken, train, tmp_path):
    expected, names = unbroken(mode)
    assert kill_and_go_on(train, tmp_path, int(share * len(names)), **MODES[mode]) == expected


@pytest.mark.parametrize(('mode', 'event', 'number'), [
    ('main process', 'before_train_iter', 1), ('main process', 'before_val_iter', 2),
    ('main process', 'after_train_iter', 7), ('persistent workers', 'before_train_iter', 5),
    ('accumulated gradients and EMA', 'after_train_iter', 6), ('iterations', 'before_train_iter', 5),
    ('iterations', 'before_val_iter', 2)])
def test_a_run_that_is_asked_to_end_saves_first_and_goes_on_exactly(mode, event, number, unbroken, train, tmp_path):
    expected, names = unbroken(mode)
    fatal = [index for index, name in enumerate(names) if name == event][number]
    assert train(tmp_path, fatal, softly=True, **MODES[mode]) == 1, 'the run was not stopped'
    at = int((tmp_path / 'last_checkpoint').read_text().rpartition('_')[2].removesuffix('.pth'))
    assert event == 'before_val_iter' or at == number + 1  # no iteration is lost
    assert train(tmp_path, resume=True, **MODES[mode]) == 0
    found = state(tmp_path, MODES[mode].get('by_iter', False))
    assert found == expected or mode == 'iterations' and event != 'before_val_iter' and set(found) == set(expected)


FATAL = [('before_train_iter', 0), ('half written', 0), ('after fsync', 2), ('half written', 1), ('before_val_iter', 2),
         ('after_val_epoch', 1), ('remove', 0), ('half written', -1), ('after replace', -1), ('remove', -1),
         ('after_run', 0)]


@pytest.mark.parametrize(('event', 'number'), FATAL)
def test_killed_at_a_critical_moment(event, number, unbroken, train, tmp_path):
    expected, names = unbroken('main process')
    fatal = [index for index, name in enumerate(names) if name == event][number]
    assert kill_and_go_on(train, tmp_path, fatal) == expected


def test_killed_again_and_again(unbroken, train, tmp_path):
    expected, names = unbroken('main process')
    for fatal in (50, 30, 40):
        assert train(tmp_path, fatal, resume=True) == -signal.SIGKILL
    assert train(tmp_path, resume=True) == 0
    assert state(tmp_path, False) == expected


def test_a_folder_that_was_moved(unbroken, train, tmp_path):
    expected, names = unbroken('main process')
    assert train(tmp_path / 'old', 80) == -signal.SIGKILL
    (tmp_path / 'old').rename(tmp_path / 'new')
    assert train(tmp_path / 'new', resume=True) == 0
    assert state(tmp_path / 'new', False) == expected
    assert not (tmp_path / 'old').exists()


def test_a_finished_run_stays_as_it_is(unbroken, train, tmp_path):
    expected, _ = unbroken('main process')
    assert train(tmp_path) == 0
    assert train(tmp_path, resume=True) == 0
    assert state(tmp_path, False) == expected


def test_another_seed_ends_elsewhere(unbroken, train, tmp_path):
    assert train(tmp_path, seed=2) == 0
    assert state(tmp_path, False)['last'] != unbroken('main process')[0]['last']
