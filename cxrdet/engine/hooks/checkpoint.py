"""Checkpoints that a kill at any moment leaves whole."""
import os
from collections import deque
from itertools import chain
from os import path as osp

from mmengine.dist import is_main_process, master_only
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook

from cxrdet.checkpoints.checkpoint import Checkpoint, keep_keys
from cxrdet.core.errors import check_choice
from cxrdet.core.files import atomic_path, remove_leftovers, write_atomic
from cxrdet.core.history import better_is
from cxrdet.core.torch_files import add_digest
from cxrdet.engine.process import by_iteration, position
from cxrdet.registry import HOOKS

_BACKEND = 'cxrdet.AtomicLocalBackend'


class AtomicLocalBackend(LocalBackend):
    """Local files that are written beside and renamed, checkpoints with a digest."""

    def put(self, obj: bytes, filepath) -> None:
        with atomic_path(filepath) as beside:
            beside.write_bytes(obj)
            if obj.startswith(b'PK'):  # a checkpoint
                add_digest(beside)

    def put_text(self, obj: str, filepath, encoding: str = 'utf-8') -> None:
        write_atomic(filepath, obj.encode(encoding))


register_backend(_BACKEND, AtomicLocalBackend, force=True)


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """MMEngine's hook, with all its arguments, made safe against a kill.

    - Checkpoints and the pointer ``last_checkpoint`` are written beside and renamed (local files); checkpoints get a
      digest of what is in them, by which :class:`cxrdet.checkpoints.checkpoint.Checkpoint` knows them undamaged.
    - An old checkpoint, also the last best one, is removed after the new one stands.
    - A checkpoint holds the state before its validation, and a resumed run validates first: best score, early stop and
      schedules that depend on a metric then go on as in an unbroken run. (MMEngine writes the file anew after a
      validation with a new best, and never repeats a validation that was cut short.)
    - Without ``rule``, the name of the metric says whether more of it is better
      (:func:`cxrdet.core.history.better_is`; after it, MMEngine's names).
    - A run is not resumed from another model's checkpoint. (MMEngine logs that and goes on.)
    - The state of schedules is plain data. (MMEngine's OneCycleLR adds the function of its curve.)
    """

    _inside_epoch = False  # whether the run goes on from within an epoch, whose validation is not due

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if runner._resume:
            self._inside_epoch = bool(checkpoint.get('interrupted', {}).get('batches'))
            Checkpoint(checkpoint, runner._load_from or runner.work_dir).check_model(runner.model)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        states = checkpoint.get('param_schedulers') or []
        for state in chain.from_iterable(states.values()) if isinstance(states, dict) else states:
            for name in [name for name, value in state.items() if callable(value)]:
                del state[name]

    def before_train(self, runner) -> None:
        super().before_train(runner)
        if type(self.file_backend) is LocalBackend:
            self.file_backend = AtomicLocalBackend()
            self.backend_args = dict(backend=_BACKEND)
            _clean(runner, {self.out_dir, runner.work_dir})
        if self.max_keep_ckpts > 0:
            self.keep_ckpt_ids = deque(self.keep_ckpt_ids)  # without its limit: one more stands while writing
        if runner._resume and not self._inside_epoch:
            _validate_resumed(runner)

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        filename = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, filename)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        if self.max_keep_ckpts > 0:
            if step not in self.keep_ckpt_ids:
                self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        runner.save_checkpoint(self.out_dir, filename, self.file_client_args, save_optimizer=self.save_optimizer,
                               save_param_scheduler=self.save_param_scheduler, meta=meta, by_epoch=self.by_epoch,
                               backend_args=self.backend_args, **self.args)
        if is_main_process():
            write_atomic(osp.join(runner.work_dir, 'last_checkpoint'), os.fsencode(self.last_ckpt))
        while 0 < self.max_keep_ckpts < len(self.keep_ckpt_ids):
            self._remove(self.filename_tmpl.format(self.keep_ckpt_ids.popleft()))

    def _save_best_checkpoint(self, runner, metrics: dict) -> None:
        if not self.save_best:
            return
        if 'auto' in self.key_indicators:
            self._init_rule(self.rules, [next(iter(metrics))])
        for key in self.key_indicators:
            check_choice('save_best', key, metrics)
        before = best_paths(self)
        last, self.last_ckpt = self.last_ckpt, None  # None: the checkpoint before the validation stays as it is
        _set_best_paths(self, {})  # {}: the last best one is not removed yet
        super()._save_best_checkpoint(runner, metrics)
        self.last_ckpt, new = last, {key: path for key, path in best_paths(self).items() if path}
        _set_best_paths(self, before | new)
        for key in new:
            if before[key] and osp.basename(before[key]) != osp.basename(new[key]):
                self._remove(osp.basename(before[key]))

    def _init_rule(self, rules: list[str | None], key_indicators: list[str]) -> None:
        rules = rules * len(key_indicators) if len(rules) == 1 else rules
        super()._init_rule([rule or better_is(key) for rule, key in zip(rules, key_indicators, strict=True)],
                           key_indicators)

    @master_only
    def _remove(self, name: str) -> None:
        path = self.file_backend.join_path(self.out_dir, name)
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):  # DeepSpeed writes folders
            self.file_backend.rmtree(path)

    @master_only
    def _publish_model(self, runner, ckpt_path: str) -> None:
        runner.logger.info(f'{ckpt_path} is published to {keep_keys(ckpt_path, self.published_keys)}')


def best_paths(hook: MMEngineCheckpointHook) -> dict:
    """By name of the metric in ``save_best``, the best checkpoint so far; None where there is none."""
    if len(hook.key_indicators) == 1:
        return {hook.key_indicators[0]: hook.best_ckpt_path}
    return {key: hook.best_ckpt_path_dict.get(key) for key in hook.key_indicators}


def _set_best_paths(hook: CheckpointHook, paths: dict) -> None:
    if len(hook.key_indicators) == 1:
        hook.best_ckpt_path = paths.get(hook.key_indicators[0])
    else:
        hook.best_ckpt_path_dict = {key: paths.get(key) for key in hook.key_indicators}


@master_only
def _clean(runner, folders: set[str]) -> None:
    for leftover in chain(*map(remove_leftovers, folders)):
        runner.logger.info(f'Removed {leftover}, which a killed run left')


def _validate_resumed(runner) -> None:
    """Run the validation that was due when the resumed checkpoint had been written, if there was one."""
    loop = runner.train_loop
    by_iter, done = by_iteration(runner), position(runner)
    end = loop.max_iters if by_iter else loop.max_epochs
    if runner.val_loop is None or not done:
        return
    loop._decide_current_val_interval()  # as the loop does before it asks the same question
    if done < loop.val_begin or (done % loop.val_interval and done != end):
        return
    runner.logger.info(f'Validating the resumed checkpoint ({"iteration" if by_iter else "epoch"} {done})')
    runner.val_loop.run()
