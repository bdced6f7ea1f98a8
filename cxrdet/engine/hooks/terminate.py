"""SIGTERM during a training: a checkpoint is saved, then the run ends."""
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import EpochBasedTrainLoop

from cxrdet.core.errors import Terminated
from cxrdet.core.files import write_atomic


class TerminateHook(Hook):
    """Save a checkpoint and raise :class:`Terminated` at the end of the iteration in which SIGTERM came.

    A run that goes on from it passes over the batches that its epoch has had already, with the random numbers of that
    moment (of a single process), and ends as an unbroken one; one that counts iterations may draw other random numbers
    until its next checkpoint. The file, ``iter_<n>.pth``, goes when the next checkpoint stands. Of several processes
    the first saves; the others end when they no longer reach it.

    Training registers it; :meth:`listening` must be around the run.
    """
    priority = 'LOWEST'  # after the CheckpointHook, and after the seeding of the next iteration

    def __init__(self) -> None:
        self.asked = self._training = False
        self._moment: dict = {}  # what goes into the checkpoint that is being saved
        self._resumed: dict = {}  # that of the checkpoint that the run goes on from
        self._passing: Path | None = None  # its file

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note SIGTERM instead of ending by it; the second one ends at once, as does one in a fork."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        own, before = os.getpid(), signal.getsignal(signal.SIGTERM)

        def note(number, frame) -> None:
            if os.getpid() == own and not self.asked:
                self.asked = True
                return
            signal.signal(number, before if os.getpid() == own and callable(before) else signal.SIG_DFL)
            os.kill(os.getpid(), number)
        signal.signal(signal.SIGTERM, note)
        try:
            yield
        except Exception:
            if self.asked:  # the first process has ended, and with it the connection to it
                raise Terminated from None
            raise
        finally:
            signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if runner._resume and 'interrupted' in checkpoint:
            self._resumed, self._passing = checkpoint['interrupted'], Path(runner._load_from)

    def before_train(self, runner) -> None:
        self._training = True
        if self._resumed.get('batches'):
            pass_over(runner.train_loop, self._resumed['batches'],
                      partial(set_generators, self._resumed['generators']) if runner.world_size == 1 else None)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._clear(runner)
        if self.asked and is_main_process():
            by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
            raise Terminated(self._save(runner, batch_idx + 1 if by_epoch else 0, runner.iter + 1))

    def after_train_epoch(self, runner) -> None:
        self._clear(runner)

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if self.asked and self._training and is_main_process():
            raise Terminated(self._save(runner, 0, runner.iter))

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        if self._moment:
            checkpoint['interrupted'] = self._moment

    def _save(self, runner, batches: int, iteration: int) -> str:
        """Save the state after ``batches`` of an epoch; return what is to be said."""
        hook = next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)
        folder = hook.out_dir if hook is not None else runner.work_dir
        path = Path(folder, f'iter_{iteration}.pth')
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        if not batches and hook is not None and hook.last_ckpt and Path(  # saved before its validation
                hook.last_ckpt).name == hook.filename_tmpl.format(runner.epoch if by_epoch else iteration):
            return f'the state is in {hook.last_ckpt}.'
        self._moment = dict(batches=batches, generators=generators())
        runner.save_checkpoint(folder, path.name, meta=dict(epoch=runner.epoch, iter=iteration), by_epoch=False,
                               backend_args=hook.backend_args if hook is not None else None)
        write_atomic(Path(runner.work_dir, 'last_checkpoint'), os.fsencode(path))
        return f'the state after iteration {iteration} is in {path}.'

    def _clear(self, runner) -> None:
        """Remove the file that the run went on from, as soon as there is a later one."""
        if self._passing is None or not is_main_process():
            return
        pointer = Path(runner.work_dir, 'last_checkpoint')
        newest = os.fsdecode(pointer.read_bytes()) if pointer.is_file() else ''
        if newest != str(self._passing) and Path(newest).is_file():
            self._passing.unlink(missing_ok=True)
            self._passing = None


def pass_over(loop: EpochBasedTrainLoop, batches: int, then: Callable[[], None] | None) -> None:
    """Let the next epoch of ``loop`` read its first ``batches`` without training on them, and call ``then``."""
    def read_only(idx: int, data_batch) -> None:
        if idx + 1 == batches:
            del loop.run_iter
            if then is not None:
                then()
    loop.run_iter = read_only


def generators() -> dict:
    """The states of the generators of this process, as plain data and tensors."""
    kind, words, *rest = np.random.get_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return dict(torch=torch.get_rng_state(), cuda=cuda, python=random.getstate(),
                numpy=(kind, torch.from_numpy(words.astype(np.int64)), *rest))


def set_generators(states: dict) -> None:
    """Put back what :func:`generators` gave."""
    torch.set_rng_state(states['torch'])
    if len(states['cuda']) == torch.cuda.device_count() and states['cuda']:
        torch.cuda.set_rng_state_all(states['cuda'])
    version, words, gauss = states['python']
    random.setstate((version, tuple(words), gauss))
    kind, words, *rest = states['numpy']
    np.random.set_state((kind, words.numpy().astype(np.uint32), *rest))
