"""Files of records: equal to what MMEngine logged, the same after a kill, one process writes."""
import json
import signal
from types import SimpleNamespace

import pytest

from cxrdet.checkpoints.checkpoint import Checkpoint
from cxrdet.core.errors import ConfigError
from cxrdet.engine.hooks.history import HistoryHook
from cxrdet.registry import HOOKS

pytestmark = pytest.mark.long

HOOK = dict(type='cxrdet.HistoryHook', rules={'score': 'greater'})
MODES = {'epochs': {}, 'every second validated': dict(epochs=4, val_interval=2), 'EMA': dict(ema=True, accumulate=3),
         'iterations': dict(by_iter=True)}


def records_of(folder):
    """The records without the seconds, which differ from run to run."""
    records = json.loads((folder / 'history.json').read_text())
    for record in records:
        assert all(seconds >= 0 for seconds in record.pop('time').values())
    return records


@pytest.fixture(scope='module')
def unbroken(train, tmp_path_factory):
    import matplotlib.backends.backend_agg  # noqa: F401  # here, so that the forked children need not

    import cxrdet.visualization.plots  # noqa: F401
    made = {}

    def get(mode):
        if mode not in made:
            folder = tmp_path_factory.mktemp('unbroken')
            assert train(folder, hooks=[HOOK], **MODES[mode]) == 0
            made[mode] = folder, (folder / 'events').read_text().split('\n')
        return made[mode]
    return get


@pytest.mark.parametrize('mode', MODES)
def test_records_are_what_mmengine_logged(mode, unbroken):
    folder, _ = unbroken(mode)
    records = records_of(folder)
    name = 'iter_12' if mode == 'iterations' else f'epoch_{MODES[mode].get("epochs", 3)}'
    logged = {key: value.data[0].tolist() for key, value
              in Checkpoint.read(folder / f'{name}.pth').content['message_hub']['log_scalars'].items()}
    assert [record['iter'] for record in records] == [4 * i for i in range(1, len(records) + 1)]
    for i, record in enumerate(records):
        assert record.get('epoch') == (None if mode == 'iterations' else i + 1)
        for part in ('loss', 'accuracy'):
            mean = sum(logged[f'train/{part}'][4 * i:4 * i + 4]) / 4
            assert record['train'][part] == pytest.approx(mean, rel=1e-6)
        assert record['lr'] == {'all': pytest.approx(logged['train/lr'][4 * i + 3])}
        assert ('val' in record) == (mode != 'every second validated' or i % 2 == 1)
    scores = [record['val']['toy/score'] for record in records if 'val' in record]
    assert scores[:-1] == logged['val/toy/score']  # the checkpoint is from before the last validation


@pytest.mark.parametrize('mode', MODES)
def test_best_values(mode, unbroken):
    folder, _ = unbroken(mode)
    metrics, records = json.loads((folder / 'metrics.json').read_text()), records_of(folder)
    best = max((record for record in records if 'val' in record), key=lambda record: record['val']['toy/score'])
    assert metrics['best']['metric'] == 'toy/score'
    assert metrics['best']['value'] == best['val']['toy/score']
    assert metrics['best']['metrics']['train/loss'] == best['train']['loss']
    path, = folder.glob('best_*.pth')
    assert path.stem.endswith(f'_{metrics["best"].get("epoch", metrics["best"]["iter"])}')
    assert metrics['best']['metrics']['train/accuracy'] == best['train']['accuracy']
    assert metrics['metrics']['train/loss']['best'] == min(record['train']['loss'] for record in records)


def test_picture(unbroken):
    folder, _ = unbroken('epochs')
    assert (folder / 'training_plot.png').read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize('share', [0.4, 0.8])
@pytest.mark.parametrize('mode', MODES)
def test_a_killed_run_has_the_records_of_an_unbroken_one(mode, share, unbroken, train, tmp_path):
    expected, names = unbroken(mode)
    options = dict(MODES[mode], hooks=[HOOK])
    assert train(tmp_path, int(share * len(names)), **options) == -signal.SIGKILL
    if (tmp_path / 'history.json').exists():
        json.loads((tmp_path / 'history.json').read_text())
    assert train(tmp_path, resume=True, **options) == 0
    assert records_of(tmp_path) == records_of(expected)
    assert json.loads((tmp_path / 'metrics.json').read_text()) == json.loads((expected / 'metrics.json').read_text())


@pytest.mark.parametrize('event', ['half written', 'after_val_epoch', 'after_val', 'before_val_iter', 'after_train'])
def test_killed_at_a_critical_moment(event, unbroken, train, tmp_path):
    expected, names = unbroken('epochs')
    fatal = [index for index, name in enumerate(names) if name == event]
    assert train(tmp_path, fatal[len(fatal) // 2], hooks=[HOOK]) == -signal.SIGKILL
    for name in ('history.json', 'metrics.json'):
        json.loads((tmp_path / name).read_text())
    assert train(tmp_path, resume=True, hooks=[HOOK]) == 0
    assert records_of(tmp_path) == records_of(expected)
    assert not [path.name for path in tmp_path.glob('.*')]


def files_of(folder):
    """Without the dumped config and the list of events of these tests."""
    return {path.name: path.read_bytes() for path in folder.glob('*.*') if path.suffix != '.py'} | {
        path.name: path.read_bytes() for path in folder.glob('last_checkpoint')}


def test_a_second_run_moves_the_first_one_aside(unbroken, train, tmp_path):
    expected, _ = unbroken('epochs')
    assert train(tmp_path, hooks=[HOOK], epochs=2, seed=2) == 0
    first = files_of(tmp_path)
    assert train(tmp_path, hooks=[HOOK]) == 0
    assert records_of(tmp_path) == records_of(expected)
    assert set(files_of(tmp_path)) == set(files_of(expected))
    moved, = (files_of(path) for path in tmp_path.glob('earlier_*'))
    assert {'history.json', 'metrics.json', 'training_plot.png', 'epoch_1.pth', 'epoch_2.pth',
            'last_checkpoint'} < set(moved)
    assert len([name for name in moved if name.startswith('best_')]) == 1
    assert all(first[name] == content for name, content in moved.items())


def test_a_second_run_that_is_killed_at_once_is_not_resumed_from_the_first(unbroken, train, tmp_path):
    expected, names = unbroken('epochs')
    assert train(tmp_path, hooks=[HOOK], epochs=2, seed=2) == 0
    assert train(tmp_path, names.index('before_train_iter') + 20, hooks=[HOOK]) == -signal.SIGKILL
    assert train(tmp_path, resume=True, hooks=[HOOK]) == 0
    assert records_of(tmp_path) == records_of(expected)


def test_means_over_processes_and_one_writer(in_group, tmp_path):
    def work(rank):
        import torch
        model = torch.nn.Linear(1, 1)
        runner = SimpleNamespace(iter=1, epoch=0, hooks=[], model=model, work_dir=str(tmp_path / str(rank)),
                                 optim_wrapper=torch.optim.SGD(model.parameters(), lr=0.5), train_loop=None,
                                 _resume=False, _load_from=None)
        hook = HOOKS.build(dict(HOOK))
        hook.before_train(runner)
        hook.before_train_iter(runner, 0)
        hook.after_train_iter(runner, 0, None, dict(loss=torch.tensor(1.0 + 2 * rank)))
        hook.after_train_epoch(runner)
        return hook._recorder.records[0]['train']
    assert in_group(work) == [{'loss': 2.0}, {'loss': 2.0}]
    assert [path.name for path in tmp_path.iterdir()] == ['0']
    assert json.loads((tmp_path / '0' / 'history.json').read_text())[0]['lr'] == {'all': 0.5}


def test_rules_are_checked():
    with pytest.raises(ConfigError, match='expected "greater" or "less" for each entry of rules'):
        HistoryHook({'score': 'more'})
