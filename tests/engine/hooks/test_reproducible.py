"""The hook on a stand-in of the runner; whole runs, killed and resumed, are in tests/engine/test_resume.py."""
import logging
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import worker_init_fn as mmengine_worker_init_fn
from mmengine.runner import IterBasedTrainLoop
from torch import nn

from cxrdet.engine.hooks.reproducible import ReproducibleHook
from cxrdet.engine.seeding import worker_init_fn


def make_runner(*, seed=0, rank=0, epoch=0, iter_=0, by_iter=False, world_size=1, deterministic=False, resume=False,
                init_fn=None, sampler=None, persistent=False):
    train, val = (SimpleNamespace(dataset=SimpleNamespace(), worker_init_fn=init_fn, sampler=sampler, batch_sampler=[],
                                  persistent_workers=persistent, generator=None, _iterator='running')
                  for _ in range(2))
    loop = object.__new__(IterBasedTrainLoop) if by_iter else SimpleNamespace()
    return SimpleNamespace(seed=seed, rank=rank, epoch=epoch, iter=iter_, world_size=world_size, model=nn.Linear(2, 1),
                           deterministic=deterministic, _resume=resume, _train_loop=loop, train_loop=loop,
                           train_dataloader=train, val_dataloader=val, logger=logging.getLogger('toy'))


def draw_at(what='train', **position):
    getattr(ReproducibleHook(), f'before_{what}_epoch')(make_runner(**position))
    return float(np.random.rand())


@pytest.mark.parametrize('position', [dict(seed=1), dict(rank=1), dict(epoch=1), dict(what='val')])
def test_numbers_follow_from_the_position(position):
    assert draw_at() == draw_at()
    assert draw_at(**position) == draw_at(**position) != draw_at()


def test_iterations():
    runner, hook = make_runner(by_iter=True, iter_=4), ReproducibleHook()
    hook.before_train_epoch(runner)
    at_4 = np.random.rand()
    runner.iter = 3
    hook.after_train_iter(runner, 3)
    assert np.random.rand() == at_4
    runner.iter = 4
    hook.after_val(runner)
    assert np.random.rand() == at_4
    hook.after_train_iter(runner, 4)
    assert np.random.rand() != at_4


def test_epochs_are_not_disturbed_by_iterations():
    runner, hook = make_runner(), ReproducibleHook()
    hook.before_train_epoch(runner)
    expected = np.random.rand(2)[1]
    hook.before_train_epoch(runner)
    np.random.rand()
    hook.after_train_iter(runner, 0)
    assert np.random.rand() == expected


@pytest.mark.parametrize(('given', 'expected'), [
    (None, worker_init_fn), (partial(mmengine_worker_init_fn, seed=0), worker_init_fn),
    (partial(worker_init_fn), worker_init_fn), (print, print)])
def test_workers_of_mmengine_are_seeded_by_us_and_own_functions_stay(given, expected):
    runner = make_runner(init_fn=given)
    ReproducibleHook().before_train_epoch(runner)
    assert runner.train_dataloader.worker_init_fn is expected


@pytest.mark.parametrize(('deterministic', 'living'), [(True, None), (False, 'running')])
def test_persistent_workers_end_only_in_a_deterministic_run(deterministic, living):
    runner, hook = make_runner(deterministic=deterministic, persistent=True), ReproducibleHook()
    hook.before_train_epoch(runner)
    assert runner.train_dataloader._iterator is None  # whoever made these workers did not seed them
    assert runner.val_dataloader._iterator == 'running'
    runner.train_dataloader._iterator = 'running'
    hook.before_train_epoch(runner)
    assert runner.train_dataloader._iterator == living


@pytest.mark.parametrize('unfit', [dict(batch_sampler=None), dict(dataset=[1, 2])])
def test_persistent_workers_that_cannot_be_seeded_end(unfit):
    runner, hook = make_runner(persistent=True), ReproducibleHook()
    vars(runner.train_dataloader).update(unfit)
    for _ in range(2):
        runner.train_dataloader._iterator = 'running'
        hook.before_train_epoch(runner)
        assert runner.train_dataloader._iterator is None
    assert runner.train_dataloader.worker_init_fn is worker_init_fn


def test_a_sampler_that_cannot_be_resumed_exactly(caplog):
    sampler = torch.utils.data.SequentialSampler(range(3))
    with caplog.at_level(logging.WARNING):
        ReproducibleHook().before_train(make_runner(by_iter=True, sampler=sampler))
        assert 'With SequentialSampler an iteration-based run' in caplog.text
        caplog.clear()
        ReproducibleHook().before_train(make_runner(sampler=sampler))
    assert not caplog.text


class TestGradients:
    def checkpoint(self, runner, **parts):
        runner.model.weight.grad = torch.tensor([[3.0, 4.0]])
        checkpoint = dict(state_dict={}, **parts)
        ReproducibleHook().before_save_checkpoint(runner, checkpoint)
        return checkpoint

    def test_saved_and_restored(self):
        checkpoint = self.checkpoint(make_runner(), optimizer={})
        runner, hook = make_runner(resume=True), ReproducibleHook()
        hook.after_load_checkpoint(runner, checkpoint)
        hook.before_train(runner)
        assert runner.model.weight.grad.tolist() == [[3, 4]]
        assert runner.model.bias.grad is None

    def test_not_restored_by_load_from(self):
        runner, hook = make_runner(resume=False), ReproducibleHook()
        hook.after_load_checkpoint(runner, self.checkpoint(make_runner(), optimizer={}))
        hook.before_train(runner)
        assert runner.model.weight.grad is None

    def test_not_in_the_best_checkpoint_nor_in_those_of_several_processes(self):
        assert 'gradients' not in self.checkpoint(make_runner())
        assert 'gradients' not in self.checkpoint(make_runner(world_size=2), optimizer={})

    def test_none_pending(self):
        checkpoint = dict(optimizer={})
        ReproducibleHook().before_save_checkpoint(make_runner(), checkpoint)
        assert set(checkpoint) == {'optimizer'}
