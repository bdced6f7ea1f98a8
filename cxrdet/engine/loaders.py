"""Data loaders take no more workers, shared memory and memory than this process may use; :mod:`cxrdet.core.machine`."""
import logging
import multiprocessing
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from torch.multiprocessing.reductions import reduce_storage
from torch.utils.data._utils.collate import collate_tensor_fn, default_collate_fn_map

from cxrdet.core.config_tree import DATALOADERS, walk
from cxrdet.core.machine import cpu_share, local_processes, memory_limit, shared_memory_free
from cxrdet.core.temporary import worker_folder
from cxrdet.engine.process import set_threads

SHARED_MEMORY_RESERVE = 256 * 2 ** 20  # bytes

_MIB = 2 ** 20
_CACHE_MB = 512  # of LoadImage, by default
_LOCKS = _MIB  # bytes of shared memory that the locks of a few workers need, generously
_ONLY_WITH_WORKERS = ('prefetch_factor', 'timeout', 'multiprocessing_context')


def fit_to_machine(cfg: Any, launcher: str = 'none') -> None:
    """Threads, data loader workers and image caches of a run, before its Runner is built.

    Args:
        cfg: the config; its data loaders may be changed, see :func:`fit_loaders`.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``, whose variables are set.
    """
    if launcher == 'none' or not torch.cuda.is_available():  # one of several on GPUs keeps what its launcher gave it
        set_threads(launcher)
    start = ((cfg.get('env_cfg') or {}).get('mp_cfg') or {}).get('mp_start_method')
    fit_loaders({name: cfg[name] for name in DATALOADERS if cfg.get(name)}, launcher=launcher, start_method=start)


def fit_loaders(loaders: Mapping[str, dict], *, launcher: str = 'none', start_method: str | None = None) -> None:
    """Let data loaders run with the shared memory, memory and cores that there are, and say what is short.

    - Too many image caches (``LoadImage(cache=True)``) for the memory: ``cache_mb`` is reduced.
    - Little shared memory: forked workers send their batches through pipes. Without room for their locks, or where
      workers are not forked, there are none: ``num_workers=0``.
    - Temporary files of the workers go with this process, see :mod:`cxrdet.core.temporary`.
    - More workers than a container's quota, or this process's share, has cores: a warning, as torch gives it where they
      are more than the cores that the process is bound to.

    Args:
        loaders: configs of data loaders by name; they are changed.
        launcher: as for :func:`fit_to_machine`; processes on one machine share its memory.
        start_method: of worker processes; by default that of :mod:`multiprocessing`.
    """
    processes = local_processes(launcher)
    _fit_caches(loaders, processes)
    working = {name: loader for name, loader in loaders.items() if loader.get('num_workers')}
    if not working:
        return
    forked = (start_method or multiprocessing.get_start_method()) == 'fork'
    _fit_shared_memory(working, forked and 'fork' in multiprocessing.get_all_start_methods())  # never on Windows
    if any(loader['num_workers'] for loader in working.values()):
        worker_folder()
    share, bound = cpu_share(launcher), len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 1
    many = [f'{name}: num_workers={loader["num_workers"]}' for name, loader in working.items()
            if share < loader['num_workers'] <= bound]
    if many:
        whose = 'the limit of a container' if processes == 1 else 'its share of them'
        _warn(f'{"; ".join(many)}. This process may use {share} processor core{"s" * (share > 1)} ({whose}): more '
              'workers than that may be slower.')


def _fit_shared_memory(loaders: Mapping[str, dict], forked: bool) -> None:
    free = shared_memory_free()
    small = free is not None and free < SHARED_MEMORY_RESERVE
    locks = not forked or (free is None or free >= _LOCKS) and _can_have_locks()
    possible = locks if forked else not small
    if possible and forked:
        spare_shared_memory()
    if small or not possible:
        state = f'has {free / _MIB:.0f} MiB free' if locks and free is not None else 'is full, read-only or missing'
        way = 'batches go through pipes' if possible else 'the main process loads all images itself (num_workers=0)'
        _warn(f'/dev/shm, in which data loader workers hand over their batches, {state}: {way}, which is slower. In '
              'Docker, start the container with --shm-size=2g or --ipc=host; in Kubernetes, mount an emptyDir with '
              'medium: Memory at /dev/shm.')
    if not possible:
        for loader in loaders.values():
            loader.update(num_workers=0, persistent_workers=False)
            for key in _ONLY_WITH_WORKERS:
                loader.pop(key, None)


def _fit_caches(loaders: Mapping[str, dict], processes: int) -> None:
    """Let the image caches of all workers of all processes grow to half of the memory at most."""
    limit = memory_limit()
    caches = [(step, max(loader.get('num_workers') or 0, 1)) for loader in loaders.values()
              for step in walk(loader.get('dataset') or {})
              if str(step.get('type')).rpartition('.')[2] == 'LoadImage' and step.get('cache')]
    most = sum(step.get('cache_mb', _CACHE_MB) * workers for step, workers in caches) * _MIB * processes
    if limit is None or most <= limit / 2:
        return
    sizes = [round(step.get('cache_mb', _CACHE_MB) * limit / 2 / most, 3) for step, _ in caches]
    for (step, _), size in zip(caches, sizes, strict=True):
        step['cache_mb'] = size
    _warn(f'{", ".join(loaders)}: the image caches of all workers could grow to {most / _MIB:.0f} MiB, more than half '
          f'of the {limit / _MIB:.0f} MiB of memory that may be used: cache_mb of LoadImage is reduced to '
          f'{", ".join(map(str, sizes))}.')


def _can_have_locks() -> bool:
    try:
        multiprocessing.get_context('fork').Lock()
    except OSError:  # nothing can be written to /dev/shm, or it is missing
        return False
    return True


def spare_shared_memory() -> None:
    """Let forked worker processes put tensors into ``/dev/shm`` only while much of it stays free.

    torch's workers hand a batch over in ``/dev/shm``, whichever sharing strategy is set. When it is full they die of a
    "Bus error", or, since torch 2.10, the run waits for ever. From now on what would leave less than
    :data:`SHARED_MEMORY_RESERVE` free goes through the worker's pipe instead: slower, the same numbers.
    """
    ForkingPickler.register(torch.UntypedStorage, _reduce)
    default_collate_fn_map[torch.Tensor] = _stack


def _is_room_for(size: int) -> bool:
    free = shared_memory_free()
    return free is None or free >= size + SHARED_MEMORY_RESERVE


def _reduce(storage: torch.UntypedStorage) -> tuple[Callable, tuple]:
    if storage.device.type != 'cpu' or storage.is_shared() or _is_room_for(storage.nbytes()):
        return reduce_storage(storage)
    return _rebuild, (torch.empty(0, dtype=torch.uint8).set_(storage).numpy(),)


def _rebuild(data: np.ndarray) -> torch.UntypedStorage:
    return torch.from_numpy(data).untyped_storage()


def _stack(batch: list[torch.Tensor], *, collate_fn_map: dict | None = None) -> torch.Tensor:
    """Make one tensor of a batch; torch's own function, which this calls, does so in shared memory."""
    if _is_room_for(sum(member.nbytes for member in batch)):
        return collate_tensor_fn(batch, collate_fn_map=collate_fn_map)
    return torch.stack(batch)


@lru_cache(maxsize=8)
def _warn(text: str) -> None:
    """Log a warning, once a process and once a machine."""
    if os.environ.get('LOCAL_RANK', '0') == '0':
        print_log(text, logger='current', level=logging.WARNING)
