"""Histograms of weights in the event file: which, at which epochs, with what counts."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from mmengine.visualization import LocalVisBackend, TensorboardVisBackend
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from cxrdet.core.errors import ConfigError
from cxrdet.engine.hooks import WeightHistogramHook
from cxrdet.preflight.config import load_config


def runner(folder, *, loop=EpochBasedTrainLoop, board=True):
    """As much of a runner as the hook asks for, with a model of a frozen and a trained layer."""
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 40, bias=False))
    model[0].requires_grad_(False)
    backends = dict(local=LocalVisBackend(str(folder)))
    if board:
        backends['board'] = TensorboardVisBackend(str(folder))
    return SimpleNamespace(model=model, train_loop=object.__new__(loop), epoch=0,
                           visualizer=SimpleNamespace(_vis_backends=backends))


def train(run, hook, epochs):
    """Epoch n sets the trained weights to n + 0 / 80 … n + 79 / 80, but for one that is no number."""
    hook.before_train(run)
    for run.epoch in range(epochs):
        run.model[1].weight.data = run.epoch + torch.arange(80.).reshape(40, 2) / 80
        run.model[1].weight.data[3, 1] = float('nan')
        hook.after_train_epoch(run)
    for backend in run.visualizer._vis_backends.values():
        backend.close()


def test_every_second_epoch(tmp_path):
    train(runner(tmp_path), WeightHistogramHook(interval=2), epochs=5)
    events = EventAccumulator(str(tmp_path), size_guidance=dict(histograms=0)).Reload()
    assert events.Tags()['histograms'] == ['weights/1.weight']
    found = {event.step: event.histogram_value for event in events.Histograms('weights/1.weight')}
    assert sorted(found) == [2, 4]
    for step, histogram in found.items():
        values = np.delete(step - 1 + np.arange(80) / 80, 7)
        assert (histogram.num, sum(histogram.bucket)) == (79, 79)
        expected = [values.min(), values.max(), values.sum()]
        assert [histogram.min, histogram.max, histogram.sum] == pytest.approx(expected)


def test_off(tmp_path):
    run = runner(tmp_path, board=False)
    train(run, WeightHistogramHook(enabled=False), epochs=5)
    assert not list(tmp_path.glob('events*'))


def test_the_switch_of_the_recipe():
    for options, expected in (([], False), (['weight_histograms=True'], True)):
        cfg = load_config('configs/faster_rcnn_bifpn_cell_tensorboard.py', cfg_options=options)
        assert cfg.default_hooks.weight_histogram == dict(type='cxrdet.WeightHistogramHook', enabled=expected)


def test_errors(tmp_path):
    with pytest.raises(ConfigError, match=r'interval must lie in \[1, .* got 0'):
        WeightHistogramHook(0)
    with pytest.raises(ConfigError, match='visualizer has no such backend'):
        WeightHistogramHook().before_train(runner(tmp_path, board=False))
    with pytest.raises(ConfigError, match='goes by iterations'):
        WeightHistogramHook().before_train(runner(tmp_path, loop=IterBasedTrainLoop))
