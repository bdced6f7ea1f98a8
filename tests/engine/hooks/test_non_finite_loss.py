"""A loss that is no number stops the run and says where."""
import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook

from cxrdet.checkpoints.checkpoint import Checkpoint
from cxrdet.core.errors import TrainingError
from cxrdet.engine.hooks.non_finite_loss import NonFiniteLossHook, image_names
from cxrdet.registry import HOOKS

BATCH = dict(inputs=[0, 0], data_samples=[SimpleNamespace(img_path='a/1.png'), SimpleNamespace(img_id=7)])


def make_runner(folder, rank=0, world_size=1):
    return SimpleNamespace(rank=rank, world_size=world_size, iter=41, epoch=2, work_dir=str(folder))


def call(runner, batch=BATCH, **outputs):
    HOOKS.build(dict(type='cxrdet.NonFiniteLossHook')).after_train_iter(
        runner, 1, batch, {name: torch.tensor(value) for name, value in outputs.items()})


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_says_where(value, tmp_path):
    with pytest.raises(TrainingError) as caught:
        call(make_runner(tmp_path), loss=value, loss_cls=1.0, loss_bbox=value, acc=math.nan)
    assert str(caught.value).split('\n')[:5] == [
        'The loss is not finite at iteration 42 (epoch 3).', f'  loss_bbox = {value}; the 2 images of the batch:',
        '    a/1.png', '    7', f'  There is no checkpoint with finite weights in {tmp_path}.']


def test_one_loss_and_no_names(tmp_path):
    with pytest.raises(TrainingError, match='loss = nan; the samples of the batch name no images'):
        call(make_runner(tmp_path), batch=dict(inputs=[0]), loss=math.nan)


def test_finite_losses_pass(tmp_path):
    call(make_runner(tmp_path), loss=1e30, acc=math.nan)
    NonFiniteLossHook().after_train_iter(make_runner(tmp_path), 0, BATCH, None)


def test_names_of_images():
    assert image_names(BATCH) == ['a/1.png', '7']
    assert image_names(dict(data_samples=[0.5])) == ['(an image without path)']
    assert image_names([1, 2]) == image_names({}) == []


def test_all_processes_stop_with_one_message(in_group, tmp_path):
    def work(rank):
        runner = make_runner(tmp_path, rank, world_size=2)
        call(runner, loss=1.0)
        try:
            call(runner, loss=math.nan if rank else 1.0)
        except TrainingError as error:
            return str(error)
    first, second = in_group(work)
    assert first == second
    assert 'process 1: loss = nan; the 2 images of the batch:\n    a/1.png' in first
    assert 'process 0' not in first


class Poison(Hook):
    """Makes a weight NaN: at an iteration, or at the end of an epoch just before its checkpoint."""

    def __init__(self, at_iter=-1, at_epoch=-1):
        self.at_iter, self.at_epoch = at_iter, at_epoch

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.at_iter:
            runner.model.linear.bias.data.fill_(math.nan)

    def after_train_epoch(self, runner):
        if runner.epoch == self.at_epoch:
            runner.model.linear.bias.data.fill_(math.nan)


@pytest.mark.parametrize(('poison', 'options', 'place'), [
    (dict(at_iter=9), {}, 'iteration 10 (epoch 3)'), (dict(at_iter=9), dict(accumulate=4), 'iteration 10 (epoch 3)'),
    (dict(at_epoch=1), dict(ema=True), 'iteration 9 (epoch 3)'),
    (dict(at_iter=9), dict(by_iter=True), 'iteration 10 (epoch 1)')])
def test_a_run(poison, options, place, make_runner, in_child, tmp_path):
    """The error comes in the iteration itself; a checkpoint with NaN in it is not called good."""
    def run():
        from mmengine.runner import Runner
        Runner._log_env = lambda self, env_cfg: None
        runner = make_runner(tmp_path, hooks=[Poison(**poison), dict(type='cxrdet.NonFiniteLossHook')], **options)
        try:
            runner.train()
        except TrainingError as error:
            (tmp_path / 'message').write_text(str(error))
    assert in_child(run) == 0
    message = (tmp_path / 'message').read_text()
    assert f'The loss is not finite at {place}.' in message
    assert 'the 2 images of the batch' in message
    good = 'iter_8' if options.get('by_iter') else 'epoch_2' if 'at_iter' in poison else 'epoch_1'
    good = tmp_path / f'{good}.pth'
    assert f'The last good checkpoint is {good}: go on from it with --resume {good}' in message
    assert all(torch.isfinite(value).all() for value in Checkpoint.read(good).content['state_dict'].values())
