"""Records of a run that stand in its work folder from the first epoch on."""
import json
import os
import time
from itertools import chain
from pathlib import Path

import torch
from mmengine.dist import all_reduce, master_only
from mmengine.hooks import Hook

from cxrdet.core.errors import ConfigError, check_numbers
from cxrdet.core.files import write_atomic
from cxrdet.core.history import Recorder, summary, to_json
from cxrdet.engine.hooks.restore_best import saver_of_best
from cxrdet.engine.process import by_iteration, param_groups, training_precision, unwrap
from cxrdet.registry import HOOKS

_EARLIER = ('best_*.pth', 'epoch_*.pth', 'iter_*.pth', 'last_checkpoint', 'training_plot.png', 'metrics.json')


@HOOKS.register_module()
class HistoryHook(Hook):
    """Write ``history.json``, ``metrics.json`` and ``training_plot.png`` into the work folder.

    ``history.json`` holds one record an epoch: means of the training's losses and accuracy over its iterations (with
    augmentation and dropout, while the weights move), validation loss and metrics, learning rates by part of the model,
    seconds; ``metrics.json`` the best value of every metric with its epoch, and all metrics of the epoch that is best
    by ``save_best`` (:mod:`cxrdet.core.history`); the picture loss, main scores and rate. In iteration-based runs a
    record goes from one validation to the next.

    The records travel in the checkpoint: those of a resumed run equal those of an unbroken one, but for the seconds. A
    new run in the work folder of an earlier one moves the records and checkpoints of that aside. Numbers are means over
    all processes; every file is whole at any moment.

    Args:
        rules: whether more or less of a metric is better, where its name does not tell: part of the name -> 'greater'
            or 'less'. ``save_best`` and its rule are known from the CheckpointHook.
        plot_every: seconds; the picture is drawn anew at most that often, and at the end.
    """
    priority = 'BELOW_NORMAL'  # before the schedules of the epoch and before its checkpoint

    def __init__(self, rules: dict[str, str] | None = None, *, plot_every: float = 60.0) -> None:
        if set((rules or {}).values()) - {'greater', 'less'}:
            raise ConfigError(f'HistoryHook: expected "greater" or "less" for each entry of rules, got {rules}.')
        check_numbers('HistoryHook', plot_every=(plot_every, '[0, inf]'))
        self.rules, self.plot_every = dict(rules or {}), plot_every
        self._recorder, self._rates = Recorder(), []
        self._training, self._plotted = False, time.monotonic()

    def before_train(self, runner) -> None:
        self._training = True
        if self._recorder.records:
            self._write(runner)
        elif not runner._resume:
            _make_room(runner)

    def before_train_epoch(self, runner) -> None:
        self._recorder.start_clock()

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        self._rates = [group['lr'] for group in param_groups(runner.optim_wrapper)]

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        self._recorder.add(_means_over_processes(outputs or {}))

    def after_train_epoch(self, runner) -> None:
        self._close(runner)

    def before_val_epoch(self, runner) -> None:
        if self._training:
            self._close(runner)  # in an iteration-based run; else it is closed already
            self._recorder.start_clock()

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        if self._training and self._recorder.records:
            self._recorder.add_validation({k: float(v) for k, v in (metrics or {}).items() if _is_scalar(v)})

    def after_val(self, runner) -> None:
        if self._training:
            self._write(runner)

    def after_train(self, runner) -> None:
        self._write(runner, every=0.0)
        self._training = False

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        if 'optimizer' in checkpoint:
            checkpoint['history'] = dict(self._recorder.state(), rates=self._rates)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if runner._resume:
            if 'history' in checkpoint:
                self._recorder.load(checkpoint['history'])
                self._rates = list(checkpoint['history']['rates'])
            else:
                runner.logger.warning('The checkpoint holds no history: history.json begins with the next epoch')

    def _close(self, runner) -> None:
        if self._recorder.open:
            epoch = None if by_iteration(runner) else runner.epoch + 1
            self._recorder.close(iteration=runner.iter, epoch=epoch, rates=_named(runner, self._rates),
                                 precision=training_precision(runner.optim_wrapper))
            self._write(runner)

    def _write(self, runner, every: float | None = None) -> None:
        draw = time.monotonic() - self._plotted >= (self.plot_every if every is None else every)
        self._plotted = time.monotonic() if draw else self._plotted
        _write_files(runner, self._recorder.records, self.rules, draw)


@master_only
def _make_room(runner) -> None:
    folder = move_earlier_run(runner.work_dir, keep=runner._load_from)
    if folder is not None:
        runner.logger.warning(f'{runner.work_dir} holds an earlier run, which this one does not go on with (--resume '
                              f'does): its records and checkpoints are now in {folder}')


@master_only
def _write_files(runner, records: list[dict], rules: dict[str, str], draw: bool) -> None:
    (main, goals), folder = _goals(runner), Path(runner.work_dir)
    rules = rules | goals
    write_atomic(folder / 'history.json', to_json(records))
    write_atomic(folder / 'metrics.json', json.dumps(summary(records, main=main, rules=rules), indent=1) + '\n')
    if records and draw:
        from cxrdet.visualization.curves import history_panels
        from cxrdet.visualization.plots import write_panels
        write_panels(folder / 'training_plot.png', history_panels(records, main=main, rules=rules))


def _is_scalar(value) -> bool:
    if isinstance(value, (bool, str)) or value is None:
        return False
    return isinstance(value, (int, float)) or getattr(value, 'size', None) == 1 or (
        isinstance(value, torch.Tensor) and value.numel() == 1)


def _means_over_processes(outputs: dict) -> dict[str, float]:
    outputs = {name: torch.as_tensor(value).item() for name, value in outputs.items() if _is_scalar(value)}
    values = torch.tensor(list(outputs.values()), dtype=torch.float64)
    if outputs:
        all_reduce(values, op='mean')
    return dict(zip(outputs, values.tolist(), strict=True))


def _named(runner, rates: list[float]) -> dict[str, float]:
    """Parameter -> rate; 0 where it is frozen."""
    by_id = {id(weight): rate for group, rate in zip(param_groups(runner.optim_wrapper), rates, strict=True)
             for weight in group['params']}
    model = unwrap(runner.model)
    return {name: float(by_id.get(id(weight), 0.0)) if weight.requires_grad else 0.0
            for name, weight in model.named_parameters()}


def _goals(runner) -> tuple[str | None, dict[str, str]]:
    """The metric by which the best checkpoint is chosen, and the rules of all such metrics."""
    hook = saver_of_best(runner)
    if hook is None:
        return None, {}
    rules = {name: rule for name, rule in zip(hook.key_indicators, hook.rules, strict=False) if rule}
    return hook.key_indicators[0], rules


def move_earlier_run(work_dir: str | os.PathLike, *, keep: str | os.PathLike | None = None) -> Path | None:
    """Move the records and checkpoints of an earlier run in ``work_dir`` into a folder there; nothing is overwritten.

    An earlier run is known by its ``history.json``, which is moved last, so that a move that was cut short is taken up
    again. The checkpoint ``keep``, with which the new run begins, stays; so do the folders of logs.

    Returns:
        The folder, ``earlier_<date>_<time>`` by when the earlier run wrote its records; None if there was no such run.
    """
    work_dir = Path(work_dir)
    records = work_dir / 'history.json'
    if not records.is_file():
        return None
    kept = None if keep is None else Path(keep).resolve()
    written = time.strftime('%Y%m%d_%H%M%S', time.localtime(records.stat().st_mtime))
    folder = work_dir / f'earlier_{written}'
    folder.mkdir(exist_ok=True)
    for path in [*chain(*map(work_dir.glob, _EARLIER)), records]:
        if path.resolve() != kept:
            path.rename(_free(folder / path.name))
    return folder


def _free(path: Path) -> Path:
    """``path``, or if it is taken, the first name ``<stem>_2``, ``<stem>_3`` … that is free."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f'{path.stem}_{number}')
    return free
