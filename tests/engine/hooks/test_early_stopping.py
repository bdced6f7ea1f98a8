"""When a run stops, by hand; and that a killed one stops where an unbroken one does, with the best weights."""
import json
import logging
import math
import signal
from types import SimpleNamespace

import pytest
import torch

from cxrdet.checkpoints.checkpoint import Checkpoint
from cxrdet.core.errors import ConfigError
from cxrdet.engine.hooks.early_stopping import EarlyStoppingHook
from cxrdet.engine.hooks.restore_best import RestoreBestHook
from cxrdet.registry import HOOKS

pytestmark = pytest.mark.long


def make_runner(resume=False):
    return SimpleNamespace(train_loop=SimpleNamespace(stop_training=False), logger=logging.getLogger('toy'),
                           _resume=resume)


def stops_at(scores, name='coco/bbox_mAP', **options):
    """The validation, from 1, after which the run stops; None if it goes on."""
    runner, hook = make_runner(), HOOKS.build(dict(type='cxrdet.EarlyStoppingHook', monitor=name, **options))
    for i, score in enumerate(scores, 1):
        hook.after_val_epoch(runner, {name: score, 'other': 1.0})
        if runner.train_loop.stop_training:
            return i
    return None


@pytest.mark.parametrize(('scores', 'options', 'expected'), [
    ([0.5, 0.4, 0.3], dict(patience=2), 3),
    ([0.5, 0.4, 0.6, 0.5, 0.5], dict(patience=2), 5),
    ([0.5, 0.5, 0.5], dict(patience=2), 3),  # equal is no improvement
    ([0.5, 0.5005, 0.5009, 0.5011, 0.5], dict(patience=3), None),  # the fourth is 0.0011 above the first
    ([0.5, 0.5005, 0.5009, 0.5], dict(patience=3), 4),
    ([0.5, 0.55, 0.58], dict(patience=2, min_delta=0.1), 3),
    ([0.5, math.nan, 0.4], dict(patience=2), 3),
    ([0.5, math.nan, 0.6, math.inf, 0.5], dict(patience=2), 5),
    ([math.nan, math.nan], dict(patience=2), 2),
    ([0.5, 0.91], dict(stopping_threshold=0.9), 2),
    ([0.5, 0.5, 0.5], dict(patience=2, min_delta=0), 3),
    ([0.5, 0.5, 0.5 + 1e-9, 0.5], dict(patience=2, min_delta=0), None),
    ([3.0, 3.0, 3.0], dict(name='val/loss', patience=2, min_delta=0), 3),
    ([0.9, 0.9], dict(stopping_threshold=0.9, patience=5, min_delta=0), None),
    ([0.5, 0.4, 0.6, 0.3], dict(name='multi-label/AUROC_mean', patience=2), None),
    ([0.5, 0.4, 0.3], dict(name='multi-label/F1_macro@youden', patience=2), 3),
    ([0.5, 0.6, 0.7], dict(name='multi-label/ECE_mean', patience=2), 3),
    ([3.0, 2.0, 1.0], dict(name='multi-label/hamming_macro@0.5', patience=1), None),
    ([3.0, 2.0, 2.5, 2.5], dict(name='val/loss', patience=2), 4),
    ([3.0, 2.0, 1.0], dict(name='toy', rule='less', patience=1), None),
    ([], {}, None)])
def test_when_it_stops(scores, options, expected):
    assert stops_at(scores, **options) == expected


def test_a_score_that_is_no_number_is_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        stops_at([0.5, math.nan], patience=5)
    assert 'coco/bbox_mAP is nan: that counts as no improvement (1 in a row, the patience is 5)' in caplog.text


@pytest.mark.parametrize(('options', 'text'), [
    (dict(monitor='mAP', patience=0), 'patience >= 1'), (dict(monitor='mAP', min_delta=-1), 'min_delta >= 0'),
    (dict(enabled='no'), "early_stop. True or False.*got 'no' and 5"), (dict(patience='x'), "got True and 'x'"),
    (dict(patience=1.5), 'whole number'), (dict(monitor='mAP', rule='more'), "got 0.001, 5 and 'more'"),
    (dict(monitor='toy/score'), 'is more of "toy/score" better, or less')])
def test_bad_arguments(options, text):
    with pytest.raises(ConfigError, match=text):
        EarlyStoppingHook(**options)


def test_a_metric_that_is_not_there():
    with pytest.raises(ConfigError, match='Did you mean "coco/bbox_mAP"'):
        EarlyStoppingHook('coco/box_mAP').after_val_epoch(make_runner(), {'coco/bbox_mAP': 0.5})
    with pytest.raises(ConfigError, match='monitor must be one of'):
        EarlyStoppingHook('mAP').after_val_epoch(make_runner(), {'loss': 0.5})


def test_a_validation_without_any_metric_does_not_count(caplog):
    """As that of MMDetection's CocoMetric where nothing was detected, in the first epochs of a training."""
    hook, runner = EarlyStoppingHook('mAP', patience=1), make_runner()
    with caplog.at_level(logging.WARNING):
        hook.after_val_epoch(runner, {})
    assert 'gave no metric, not mAP either' in caplog.text
    assert not runner.train_loop.stop_training


def with_saver(**options):
    saver = HOOKS.build(dict(type='cxrdet.CheckpointHook', interval=1, **options))
    return SimpleNamespace(**vars(make_runner()), hooks=[saver])


@pytest.mark.parametrize(('saved', 'scores', 'expected'), [
    (dict(save_best='val/loss'), [3.0, 2.0, 1.0, 1.5, 1.5], 5),  # less is better
    (dict(save_best='toy', rule='less'), [3.0, 2.0, 1.0, 1.5, 1.5], 5),
    (dict(save_best=['mAP', 'val/loss']), [0.1, 0.2, 0.3, 0.3, 0.3], 5)])
def test_watches_what_the_best_checkpoint_is_chosen_by(saved, scores, expected):
    runner, hook = with_saver(**saved), EarlyStoppingHook(patience=2)
    hook.before_run(runner)
    hook.before_train(runner)
    name = saved['save_best'] if isinstance(saved['save_best'], str) else 'mAP'
    stopped = []
    for score in scores:
        hook.after_val_epoch(runner, {name: score})
        stopped.append(runner.train_loop.stop_training)
    assert stopped.index(True) + 1 == expected


@pytest.mark.parametrize('saved', [{}, dict(save_best='auto')])
def test_nothing_to_watch(saved):
    runner, hook = with_saver(**saved), EarlyStoppingHook()
    hook.before_run(runner)  # a run that only tests may go on
    with pytest.raises(ConfigError, match='no metric to watch.*early_stop=False'):
        hook.before_train(runner)


def test_switched_off():
    runner, checkpoint = with_saver(), {}
    for hook in (EarlyStoppingHook('mAP', patience=1, enabled=False), EarlyStoppingHook(enabled=False)):
        hook.before_run(runner)
        hook.before_train(runner)
        for score in (0.5, 0.4, 0.3):
            hook.after_val_epoch(runner, {'mAP': score})
        hook.before_save_checkpoint(runner, checkpoint)
    restore = RestoreBestHook(enabled=False)
    restore.before_train(runner)
    restore.after_train(runner)
    assert (runner.train_loop.stop_training, checkpoint) == (False, {})


def test_processes_look_for_the_best_weights_after_the_main_one_has_written_them(monkeypatch, tmp_path):
    from cxrdet.engine.hooks import restore_best
    path, model = tmp_path / 'best_mAP_epoch_1.pth', torch.nn.Linear(1, 1)
    saver = HOOKS.build(dict(type='cxrdet.CheckpointHook', save_best='mAP', rule='greater'))
    saver.best_ckpt_path, saver.out_dir = str(path), str(tmp_path)
    weights = {name: torch.ones_like(value) for name, value in model.state_dict().items()}
    monkeypatch.setattr(restore_best, 'barrier', lambda: torch.save(dict(state_dict=weights, meta={}), path))
    RestoreBestHook().after_train(SimpleNamespace(model=model, hooks=[saver], work_dir=str(tmp_path),
                                                  logger=logging.getLogger('toy')))
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_count_and_score_are_resumed():
    hook, checkpoint = EarlyStoppingHook('mAP', patience=3), {}
    for score in (0.5, 0.4, 0.3):
        hook.after_val_epoch(make_runner(), {'mAP': score})
    hook.before_save_checkpoint(make_runner(), checkpoint)
    resumed, runner = EarlyStoppingHook('mAP', patience=3), make_runner(resume=True)
    resumed.after_load_checkpoint(runner, checkpoint)
    assert (resumed.wait_count, resumed.best_score) == (2, 0.5)
    resumed.after_val_epoch(runner, {'mAP': 0.49})
    assert runner.train_loop.stop_training


def test_nothing_to_resume(caplog):
    hook = EarlyStoppingHook('mAP')
    hook.after_load_checkpoint(make_runner(), {'early_stopping': {'mAP': dict(wait_count=2, best_score=1.0)}})
    assert hook.wait_count == 0  # weights only, by load_from
    with caplog.at_level(logging.WARNING):
        hook.after_load_checkpoint(make_runner(resume=True), {})
    assert 'knows nothing of an early stop by mAP' in caplog.text


HOOK_CFGS = [dict(type='cxrdet.EarlyStoppingHook', monitor='toy/score', rule='greater', patience=2),
             dict(type='cxrdet.RestoreBestHook'), dict(type='cxrdet.HistoryHook', rules={'score': 'greater'})]


def ending(folder):
    """Epochs done, and the weights that the model had at the end."""
    last = (folder / 'last_checkpoint').read_text().rpartition('_')[2]
    return int(last.removesuffix('.pth')), torch.load(folder / 'model.pt')


@pytest.fixture(scope='module', params=[False, True], ids=['', 'EMA'])
def unbroken(request, train, tmp_path_factory):
    """A run that stops before its time and ends with another epoch's weights; and how it goes."""
    import cxrdet.visualization.plots  # noqa: F401  # here, so that the forked children need not
    options = dict(hooks=HOOK_CFGS, epochs=12, ema=request.param, seed=3)
    folder = tmp_path_factory.mktemp('unbroken')
    assert train(folder, **options) == 0
    scores = [record['val']['toy/score'] for record in json.loads((folder / 'history.json').read_text())]
    return folder, options, scores


def test_stops_and_restores_the_best(unbroken):
    folder, _, scores = unbroken
    done, weights = ending(folder)
    best = max(range(len(scores)), key=lambda i: scores[i])
    assert done == len(scores) == best + 3 < 12  # two in a row without improvement
    best_weights = Checkpoint.read(folder / f'best_toy_score_epoch_{best + 1}.pth').content['state_dict']
    last_weights = Checkpoint.read(folder / f'epoch_{done}.pth').content['state_dict']
    for name, value in weights.items():
        assert torch.equal(value, best_weights[name]), name
    assert not torch.equal(weights['linear.weight'], last_weights['linear.weight'])


@pytest.mark.parametrize('event', ['before_val', 'after_val', 'after_train'])
def test_a_killed_run_stops_at_the_same_epoch(event, unbroken, train, tmp_path):
    expected, options, scores = unbroken
    names = (expected / 'events').read_text().split('\n')
    fatal = [index for index, name in enumerate(names) if name == event][-1]
    assert train(tmp_path, fatal, **options) == -signal.SIGKILL
    assert train(tmp_path, resume=True, **options) == 0
    assert ending(tmp_path)[0] == len(scores)
    for name, value in ending(expected)[1].items():
        assert torch.equal(value, ending(tmp_path)[1][name]), name


class TestRestoreBest:
    def runner(self, saver, folder):
        return SimpleNamespace(hooks=[] if saver is None else [saver], work_dir=str(folder),
                               model=torch.nn.Linear(1, 1), logger=logging.getLogger('toy'))

    def saver(self, **options):
        return HOOKS.build(dict(type='cxrdet.CheckpointHook', interval=1, **options))

    def test_nothing_was_saved(self, tmp_path, caplog):
        saver = self.saver(save_best='mAP')
        saver.best_ckpt_path = None
        with caplog.at_level(logging.WARNING):
            RestoreBestHook().after_train(self.runner(saver, tmp_path))
        assert 'No best checkpoint was saved in this run' in caplog.text

    @pytest.mark.parametrize('original', [False, True])
    @pytest.mark.parametrize('save_best', ['mAP', ['mAP', 'loss']])
    def test_a_folder_that_was_moved_or_copied(self, save_best, original, tmp_path):
        for folder, value in (('run', 7.0), ('original', 8.0))[:1 + original]:
            (tmp_path / folder).mkdir()
            torch.save(dict(state_dict=dict(weight=torch.full((1, 1), value), bias=torch.zeros(1))),
                       tmp_path / folder / 'best_3.pth')
        saver, path = self.saver(save_best=save_best), str(tmp_path / 'original' / 'best_3.pth')
        saver.best_ckpt_path, saver.best_ckpt_path_dict = path, {'mAP': path}
        runner = self.runner(saver, tmp_path / 'run')
        RestoreBestHook().after_train(runner)
        assert runner.model.weight.item() == 7

    @pytest.mark.parametrize('with_hook', [False, True])
    def test_needs_a_best_checkpoint(self, with_hook, tmp_path):
        with pytest.raises(ConfigError, match='default_hooks.checkpoint.save_best'):
            RestoreBestHook().before_train(self.runner(self.saver() if with_hook else None, tmp_path))
