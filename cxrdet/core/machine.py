"""How many processor cores and how much memory this process may use, on Linux also within control groups (containers).

Limits stand in files of cgroup v1 or v2, in the process's own group and in every one
that this is nested in; the tightest counts. ``root`` is where ``proc`` and
``sys/fs/cgroup`` are. This file needs the standard library only, so that
``tools/launch.sh`` can run it by itself.
"""
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_UNLIMITED = 2 ** 62  # bytes; cgroup v1 writes "no limit" as a number above


def usable_cpus(root: str | Path = '/') -> int:
    """Processor cores that this process may use: affinity, cpusets and quotas (rounded up); at least 1."""
    root = Path(root)
    found = [len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1]
    for group in _groups(root, 'cpu'):
        quota, period = (*_read(group / 'cpu.max').split(), '', '')[:2]
        quota = _number(quota or _read(group / 'cpu.cfs_quota_us'))
        period = _number(period or _read(group / 'cpu.cfs_period_us'))
        if quota and period:
            found.append(-(-quota // period))
    for group in _groups(root, 'cpuset'):
        names = ('cpuset.cpus.effective', 'cpuset.effective_cpus', 'cpuset.cpus')
        found.append(_listed(next(filter(None, (_read(group / name) for name in names)), '')))
    return max(1, min(filter(None, found)))


def memory_limit(root: str | Path = '/') -> int | None:
    """Bytes of memory that this process may use: the tightest limit; None where it is not known (not on Linux)."""
    root = Path(root)
    found = []
    for line in _read(root / 'proc' / 'meminfo').splitlines():
        if line.startswith('MemTotal:'):
            found.append(int(line.split()[1]) * 1024)
    for group in _groups(root, 'memory'):
        found += [_number(_read(group / name)) for name in ('memory.max', 'memory.limit_in_bytes')]
    return min((limit for limit in found if limit is not None and limit < _UNLIMITED), default=None)


def shared_memory_free(root: str | Path = '/') -> int | None:
    """Bytes free in ``dev/shm`` below ``root``, where processes share memory; None where there is no such folder."""
    try:
        status = os.statvfs(Path(root) / 'dev' / 'shm')
    except (OSError, AttributeError):  # Windows has no statvfs
        return None
    return status.f_bavail * status.f_frsize


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Control groups of this process that may limit ``controller``, inner ones first."""
    own = {}
    for line in _read(root / 'proc/self/cgroup').splitlines():
        _, controllers, path = line.split(':', 2)
        own |= dict.fromkeys(controllers.split(','), PurePosixPath(path))  # of version 2 the name is empty
    for line in _read(root / 'proc/self/mountinfo').splitlines():
        mount, _, system = line.partition(' - ')
        kind, _, options = (*system.split(), '', '', '')[:3]
        name = '' if kind == 'cgroup2' else controller
        if kind not in ('cgroup', 'cgroup2') or name not in ('', *options.split(',')) or name not in own:
            continue
        top, place = mount.split()[3:5]
        inside = own[name].is_relative_to(top) and '..' not in own[name].parts
        path = own[name].relative_to(top) if inside else PurePosixPath()
        for part in (path, *path.parents):
            yield root / place.lstrip('/') / part


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding='utf-8').strip()
    except OSError:
        return ''


def _number(text: str) -> int | None:
    """None for ``max``, ``-1`` and nothing, which all say that there is no limit."""
    return int(text) if text.isdigit() else None


def _listed(cores: str) -> int:
    """The number of cores in a list such as ``0-3,8``; 0 for an empty one."""
    ranges = [part.split('-') for part in cores.split(',') if part]
    return sum(int(ends[-1]) - int(ends[0]) + 1 for ends in ranges)


def cpu_share(launcher: str) -> int:
    cores = usable_cpus()
    if launcher == 'slurm' and os.environ.get('SLURM_CPUS_PER_TASK'):
        return min(cores, int(os.environ['SLURM_CPUS_PER_TASK']))  # whether Slurm has bound the task to them or not
    return max(1, cores // local_processes(launcher))


def local_processes(launcher: str) -> int:
    """Processes of this run on this machine."""
    if launcher == 'none':
        return 1
    return int(os.environ.get('LOCAL_WORLD_SIZE') or os.environ.get('SLURM_NTASKS_PER_NODE') or 1)
