"""One training at a time in a work folder."""
import contextlib
import json
import logging
import os
import secrets
import socket
import subprocess
import threading
import time
from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log

from cxrdet.core.errors import ConfigError, TrainingError

__all__ = ['RunLock']

NAME = 'training.lock'
HEARTBEAT = 15  # s between two touches of the lock
SILENT = 300  # s without one, after which a run on another machine is taken for dead
_GUARD_TRIES, _GUARD_WAIT = 50, 0.1  # s


class RunLock:
    """The file ``training.lock`` in a work folder, held by the main process of the run that writes there.

    It names the host, the process with its start time and the job, and its file time is the run's heartbeat, which a
    thread renews. A lock is stale, and taken over with a warning, if

    - its process runs no more on this machine, or another process has got its number;
    - it is of an earlier start of the same Slurm or torch.distributed.run job, which ends the one before the next; or
    - this machine cannot know its process (another host or container), and it has had no heartbeat for five minutes.

    File times are compared with each other, not with this machine's clock: on a shared folder the server gives both.
    The file appears whole and at once (a hard link; an exclusive creation where the file system has no links), and a
    stale one is replaced by one process only.

    Args:
        work_dir: the folder; made if it is missing.
    """

    def __init__(self, work_dir: str | os.PathLike) -> None:
        self.path = Path(work_dir) / NAME
        self._mine = {**_identity(), 'token': secrets.token_hex(8)}
        self._held, self._lost = False, None
        self._end, self._thread = threading.Event(), None

    def acquire(self) -> None:
        """Take the lock. In a process group the main process does, and all processes learn of its failure.

        Raises:
            ConfigError: another run holds it, or the folder cannot be written to.
        """
        refusal: list[str | None] = [None]
        if is_main_process():
            try:
                refusal = [self._try()]
            except OSError as error:
                refusal = [f'{error.filename or self.path}: cannot write into the work folder: {error.strerror}.']
        broadcast_object_list(refusal)
        if refusal[0] is not None:
            raise ConfigError(refusal[0])

    def look(self) -> None:
        """Raise ConfigError if another run holds the lock, without taking it: an early word, no promise."""
        owner = _read(self.path)
        with contextlib.suppress(FileNotFoundError):  # released in the meantime
            if self.path.exists() and _stale(owner, self.path) is None:
                raise ConfigError(self._refusal(owner))

    def release(self) -> None:
        """Remove the file, if it is this run's; may be called more than once."""
        if not self._held:
            return
        self._held = False
        self._end.set()
        self._thread.join()
        if _read(self.path).get('token') == self._mine['token']:
            self.path.unlink(missing_ok=True)

    def check(self) -> None:
        """Raise TrainingError if another run has taken the lock over; to be called before something is written."""
        if self._lost is not None:
            raise TrainingError(f'{self.path.parent}: {_who(self._lost)} has taken this folder over, because this run '
                                f'had given no sign for {SILENT} s. This run stops, to leave the other\'s files alone.')

    def _try(self) -> str | None:
        """Take the lock, or say why not."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**self._mine, 'since': time.strftime('%Y-%m-%d %H:%M:%S')})
        if not _create(self.path, text):
            refusal = self._take_over(text)
            if refusal is not None:
                return refusal
        self._held = True
        self._thread = threading.Thread(target=self._beat, name='heartbeat of the work folder', daemon=True)
        self._thread.start()
        return None

    def _take_over(self, text: str) -> str | None:
        """Replace a stale lock, one process at a time, or say why it is not stale."""
        guard = self.path.with_name(f'{NAME}.takeover')
        for _ in range(_GUARD_TRIES):
            if _create(guard, text):
                break
            with contextlib.suppress(OSError):
                if _age(guard) > SILENT:
                    guard.unlink()
            time.sleep(_GUARD_WAIT)
        else:
            return f'{self.path.parent}: another run is about to start in this folder ({guard} is there).'
        try:
            if _create(self.path, text):  # it has been released in the meantime
                return None
            owner = _read(self.path)
            reason = _stale(owner, self.path)
            if reason is None:
                return self._refusal(owner)
            _replace(self.path, text)
            print_log(f'{self.path}: took over from {_who(owner)}: {reason}', logger='current', level=logging.WARNING)
            return None
        finally:
            guard.unlink(missing_ok=True)

    def _refusal(self, owner: dict) -> str:
        known = _machine(owner) == _machine(self._mine) and owner.get('pid')
        dead = '' if known else (
            f' Whether that run still lives cannot be seen from here; its last sign is {_age(self.path):.0f} s old, '
            f'and after {SILENT} s without one it is taken for dead.')
        return (f'{self.path.parent}: {_who(owner)} is training in this folder, and a second run would overwrite its '
                f'files. Give this run another --work-dir, or wait until the other has ended.{dead} If you know that '
                f'it is dead, remove {self.path}.')

    def _beat(self) -> None:
        while not self._end.wait(HEARTBEAT) and self._lost is None:
            with contextlib.suppress(OSError):  # a server that is away for a while; the next touch comes
                self._touch()

    def _touch(self) -> None:
        owner = _read(self.path)
        if owner.get('token') == self._mine['token']:
            os.utime(self.path)
        elif owner.get('token'):
            self._lost = owner
        elif not self.path.exists():
            _create(self.path, json.dumps(self._mine))


def _identity() -> dict:
    """Of this process: what a lock says of its owner."""
    return dict(host=socket.gethostname(), boot=_boot(), pid=os.getpid(), start=_start_time(os.getpid()),
                jobs=_jobs())


def _machine(owner: dict) -> tuple:
    """What must be equal for one process to know another by its number."""
    return owner.get('host'), owner.get('boot')


def _boot() -> str:
    """Differs between two starts of a machine, two machines of one name and two containers of one machine."""
    try:
        return f'{Path("/proc/sys/kernel/random/boot_id").read_text().strip()} {os.readlink("/proc/self/ns/pid")}'
    except OSError:  # not Linux
        return ''


def _start_time(pid: int) -> str | None:
    """When a process of this machine was started, in the system's own words; None if there is no such process."""
    if os.path.isfile('/proc/self/stat'):
        try:
            state, *fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
        except (OSError, ValueError):
            return None
        return None if state in 'ZX' else fields[18]  # killed, but not yet collected by its parent
    try:
        return subprocess.run(['ps', '-o', 'lstart=', '-p', str(pid)], capture_output=True, text=True,
                              check=False).stdout.strip() or None
    except OSError:  # neither /proc nor ps: judged by its heartbeat
        return ''


def _jobs() -> dict[str, int]:
    """The jobs that this process belongs to, and how often each was started anew."""
    found = {}
    for name, count in (('SLURM_JOB_ID', 'SLURM_RESTART_COUNT'),
                        ('TORCHELASTIC_RUN_ID', 'TORCHELASTIC_RESTART_COUNT')):
        if os.environ.get(name, 'none') != 'none':  # torch.distributed.run says "none" where it was given no name
            number = os.environ.get(count, '0')
            found[f'{name} {os.environ[name]}'] = int(number) if number.isdigit() else 0
    return found


def _stale(owner: dict, path: Path) -> str | None:
    """Why the run of a lock cannot be alive; None if it can."""
    mine = _identity()
    if any(count < mine['jobs'].get(job, 0) for job, count in owner.get('jobs', {}).items()):
        return 'its job was started anew'
    if _machine(owner) == _machine(mine) and owner.get('pid') and owner.get('start'):
        now = _start_time(owner['pid'])
        if now is None:
            return 'this process has ended'
        if now:
            return None if now == owner['start'] else 'its number now belongs to another process'
    silent = _age(path)
    return f'no sign of it for {silent:.0f} s' if silent > SILENT else None


def _age(path: Path) -> float:
    """Seconds between the time of a file and that of one that is written beside it now."""
    fresh = _beside(path, '')
    try:
        with open(path, 'rb') as stream:  # opening makes a client of NFS ask the server
            return fresh.stat().st_mtime - os.fstat(stream.fileno()).st_mtime
    finally:
        fresh.unlink(missing_ok=True)


def _read(path: Path) -> dict:
    """What a lock says; {} if it is not there or not (yet) whole."""
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _beside(path: Path, text: str) -> Path:
    """A new file beside ``path``, named as :mod:`cxrdet.core.files` names what a killed process may leave."""
    beside = path.with_name(f'.{path.stem}.{os.getpid()}-{secrets.token_hex(4)}.tmp{path.suffix}')
    with open(beside, 'x', encoding='utf-8') as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    return beside


def _create(path: Path, text: str) -> bool:
    """Make a file that does not exist yet; False if it does."""
    beside = _beside(path, text)
    try:
        os.link(beside, path)
        return True
    except FileExistsError:
        return beside.stat().st_nlink > 1  # a link that was made, though its answer was lost on the way
    except OSError:  # a file system without links
        try:
            with open(path, 'x', encoding='utf-8') as stream:
                stream.write(text)
            return True
        except FileExistsError:
            return False
    finally:
        beside.unlink(missing_ok=True)


def _replace(path: Path, text: str) -> None:
    os.replace(_beside(path, text), path)


def _who(owner: dict) -> str:
    if not owner.get('pid'):
        return 'an unknown run'
    since = f', since {owner["since"]}' if owner.get('since') else ''
    return f'process {owner["pid"]} on {owner.get("host", "an unknown host")}{since}'
