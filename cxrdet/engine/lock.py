"""One training at a time in a work folder."""
import json
import logging
import os
import socket
import time
from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log

from cxrdet.core.errors import ConfigError, TrainingError
from cxrdet.core.files import lock_file, open_locked

NAME = 'training.lock'
_LOOK_EVERY = 15  # s


class RunLock:
    """The file ``training.lock`` in a work folder, locked by the main process of the run that writes there.

    The system releases the lock when the process ends, however it does, on this machine or, on a shared folder, on
    another; the file says who holds it. Where the file system has no locks, a warning says so.

    Args:
        work_dir: the folder; made if it is missing.
    """

    def __init__(self, work_dir: str | os.PathLike) -> None:
        self.path = Path(work_dir) / NAME
        self._stream: int | None = None
        self._looked = 0.0

    def acquire(self) -> None:
        """Take the lock. In a process group the main process does, and all processes learn of its failure.

        Raises:
            ConfigError: another run holds it, or the folder cannot be written to.
        """
        refusal: list[str | None] = [None]
        if is_main_process():
            try:
                self._take()
            except BlockingIOError:
                refusal = [self._refusal()]
            except OSError as error:
                refusal = [f'{error.filename or self.path}: cannot write into the work folder: {error.strerror}.']
        broadcast_object_list(refusal)
        if refusal[0] is not None:
            raise ConfigError(refusal[0])

    def look(self) -> None:
        """Raise ConfigError if another run holds the lock, which is not taken (an early word, no promise), or if the
        folder is a file or below one."""
        for folder in (self.path.parent, *self.path.parents):
            if folder.exists() and not folder.is_dir():
                raise ConfigError(f'work_dir: expected a folder to write into, got {self.path.parent}, but {folder} is '
                                  'a file. Give another folder with --work-dir.')
        try:
            with open(self.path, 'rb') as stream:
                lock_file(stream.fileno())
        except BlockingIOError:
            raise ConfigError(self._refusal()) from None
        except OSError:  # nobody holds it, or acquire() will tell
            return

    def release(self) -> None:
        """Remove the file, if it is this run's; may be called more than once."""
        if self._stream is None:
            return
        if self._is_mine():
            self.path.unlink(missing_ok=True)
        self._close()

    def check(self) -> None:
        """Raise TrainingError if somebody has removed the file and another run has begun; looked at every 15 s."""
        if self._stream is None or time.monotonic() - self._looked < _LOOK_EVERY:
            return
        self._looked = time.monotonic()
        if self._is_mine():
            return
        self._close()
        try:
            self._take()
        except BlockingIOError:
            raise TrainingError(f'{self.path.parent}: {_who(self.path)} has taken this folder over. This run stops, to '
                                'leave the other\'s files alone.') from None

    def _take(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._stream, locked = open_locked(self.path)
        os.register_at_fork(after_in_child=self._close)
        if not locked:
            print_log(f'{self.path}: this file system has no file locks: nothing keeps a second run out of the folder.',
                      logger='current', level=logging.WARNING)
        owner = dict(host=socket.gethostname(), pid=os.getpid(), since=time.strftime('%Y-%m-%d %H:%M:%S'))
        os.ftruncate(self._stream, 0)
        os.write(self._stream, json.dumps(owner).encode())

    def _close(self) -> None:
        """Also in a forked worker: the file otherwise stayed locked until the worker has seen the end too."""
        if self._stream is not None:
            os.close(self._stream)
            self._stream = None

    def _is_mine(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._stream), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _refusal(self) -> str:
        return (f'{self.path.parent}: {_who(self.path)} is training in this folder, and a second run would overwrite '
                'its files. Give this run another --work-dir, or wait until the other has ended. If you know that it '
                f'is dead (its machine may be cut off), remove {self.path}.')


def _who(path: Path) -> str:
    """Of whom a lock file tells; it may be empty for a moment."""
    try:
        owner = json.loads(path.read_text(encoding='utf-8'))
        return f'process {owner["pid"]} on {owner["host"]}, since {owner["since"]},'
    except (OSError, ValueError, TypeError, KeyError):
        return 'an unknown run'
