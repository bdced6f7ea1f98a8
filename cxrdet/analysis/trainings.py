"""Trainings and tests in processes of their own, several side by side, which may be stopped and taken up again."""
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue

from cxrdet.core.files import write_json

_PATIENCE = 60  # s for a process that was told to end, which may have a checkpoint to save
_NO_COST = {'wall': 0.0, 'cpu': 0.0, 'peak': 0, 'interrupted': 0}
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == 'linux' else None


class Trainings:
    """Runs commands in processes of their own, and ends them all if this one is stopped.

    Args:
        threads: Processor threads of each.
        devices: Values of CUDA_VISIBLE_DEVICES, of which each running job has one to itself; none: all see all.
    """

    def __init__(self, *, threads: int, devices: Sequence[str] = ()) -> None:
        self.threads = threads
        self._running: set[int] = set()  # each leads a process group
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._devices: SimpleQueue[str] = SimpleQueue()
        for device in devices:
            self._devices.put(device)
        self._many = len(devices)

    def run_all(self, jobs: Mapping[Hashable, Callable[[], None]], *, workers: int,
                needs: Mapping[Hashable, Iterable[Hashable]] | None = None) -> dict[Hashable, Exception]:
        """Call jobs in their order, ``workers`` at a time, each after those of its ``needs``, which stand before it.

        Returns: what CalledProcessError, OSError or ValueError a job has raised.
        """
        tasks: dict[Hashable, Future] = {}
        pool = ThreadPoolExecutor(workers)
        try:
            for name, job in jobs.items():
                before = [tasks[other] for other in (needs or {}).get(name, ()) if other in tasks]
                tasks[name] = pool.submit(_after, before, job)
            wait(tasks.values())
        except BaseException:
            self._stop(pool)
            raise
        finally:
            pool.shutdown()
        failures = {name: task.exception() for name, task in tasks.items()}
        for error in failures.values():
            if error is not None and not isinstance(error, (subprocess.CalledProcessError, OSError, ValueError)):
                raise error
        return {name: error for name, error in failures.items() if error is not None}

    def call(self, command: Sequence[str], folder: Path, name: str, *, cwd: str | Path | None = None,
             once: str = '', title: str = '') -> None:
        """Run a command; its output goes to ``folder/name.log``, and its cost to the sum in ``folder/cost.json``.

        Args:
            command: Program and arguments.
            folder: Made if need be.
            name: Of the log; the cost of ``train`` alone is counted.
            cwd: Working folder.
            once: Name of a file that is left in the folder at its good end; where it is, the command is not run again.
            title: Of the command in errors, by default the name.

        Raises: CalledProcessError with the last line that the command has written if it fails.
        """
        folder.mkdir(parents=True, exist_ok=True)
        marker = folder / 'running'
        if once and (folder / once).exists():
            return
        cost = cost_of(folder)
        cost['interrupted'] += marker.exists()
        write_json(folder / 'cost.json', cost)
        marker.touch()
        start = time.monotonic()
        with open(folder / f'{name}.log', 'ab') as log, self._device() as environment:
            code, usage = self._wait(command, cwd, log, environment)
        if name == 'train':
            cost['wall'] += time.monotonic() - start
            cost['cpu'] += usage.ru_utime + usage.ru_stime
            cost['peak'] = max(cost['peak'], usage.ru_maxrss)
        write_json(folder / 'cost.json', cost)
        if not self._stopped.is_set():
            marker.unlink()
        if code:
            raise subprocess.CalledProcessError(code, title or name, last_words(folder / f'{name}.log'))
        if once:
            (folder / once).touch()

    def _wait(self, command: Sequence[str], cwd: str | Path | None, log, environment: dict[str, str]) -> tuple:
        """Exit code and resources of a command that runs until its end, or until this process is stopped."""
        with self._lock:
            if self._stopped.is_set():
                raise InterruptedError('stopped before it began')
            process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, env=environment,
                                       stderr=subprocess.STDOUT, start_new_session=True,  # Ctrl-C goes to us alone
                                       preexec_fn=_die_with_parent if _LIBC else None)
            self._running.add(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        with self._lock:
            self._running.discard(process.pid)
        process.returncode = os.waitstatus_to_exitcode(status)
        return process.returncode, usage

    @contextmanager
    def _device(self):
        device = {'CUDA_VISIBLE_DEVICES': self._devices.get()} if self._many else {}
        try:
            yield os.environ | {'OMP_NUM_THREADS': str(self.threads)} | device
        finally:
            for name in device.values():
                self._devices.put(name)

    def _stop(self, pool: ThreadPoolExecutor) -> None:
        """Tell all processes to end, and end those that do not."""
        self._stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
        try:
            self._signal(signal.SIGTERM)
            until = time.monotonic() + _PATIENCE
            while self._running and time.monotonic() < until:
                time.sleep(0.05)
        finally:  # also if Ctrl-C comes a second time
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with self._lock:
            for group in self._running:
                with suppress(ProcessLookupError):
                    os.kill(group, number) if number == signal.SIGTERM else os.killpg(group, number)


def _after(before: Sequence[Future], job: Callable[[], None]) -> None:
    wait(before)
    job()


def _die_with_parent() -> None:
    """In a new process: ask the system for SIGTERM when the process that began it has ended, however it did."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def cost_of(folder: Path) -> dict:
    """What the trainings in a folder have cost: ``wall`` and ``cpu`` seconds, ``peak`` KiB of memory, and how often
    they were ``interrupted``, so that time is missing."""
    file = folder / 'cost.json'
    return _NO_COST | (json.loads(file.read_text()) if file.is_file() else {})


def last_words(log: Path) -> str:
    """The last line of a log that says what was wrong, else the last line."""
    lines = [line.strip() for line in log.read_text(encoding='utf-8', errors='replace').splitlines() if line.strip()]
    return next((line for line in reversed(lines) if line.startswith('error: ')), lines[-1] if lines else '')


def checkpoint_of(folder: Path, which: str) -> Path:
    """The ``best`` checkpoint of a work folder, or the ``last`` one; FileNotFoundError if there is none."""
    if which == 'last':
        named = Path((folder / 'last_checkpoint').read_text().strip())
        return own if (own := folder / named.name).is_file() else named  # the folder may have been moved
    found = sorted(folder.glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
    if not found:
        raise FileNotFoundError(f'{folder}: no best_*.pth')
    return found[-1]


def drop_checkpoints(folder: Path, *, but: Path) -> None:
    """Remove the checkpoints of a work folder that are neither ``but`` nor the last: trainings are many, a disk has
    an end."""
    kept = {path.resolve() for path in (but, checkpoint_of(folder, 'last'))}
    for path in folder.glob('*.pth'):
        if path.resolve() not in kept:
            path.unlink()


def measured(folder: Path) -> dict[str, float]:
    """What the newest ``cxrdet test`` in a work folder has measured; FileNotFoundError if there is none."""
    found = sorted(folder.glob('*/*.json'), key=lambda path: path.stat().st_mtime)
    if not found:
        raise FileNotFoundError(f'{folder}: no test has left its figures here')
    return json.loads(found[-1].read_text())
