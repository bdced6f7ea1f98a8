"""Batches of data loader workers where there is little shared memory."""
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler

import numpy as np
import torch
from torch.multiprocessing.reductions import reduce_storage
from torch.utils.data._utils.collate import collate_tensor_fn, default_collate_fn_map

from cxrdet.core.machine import shared_memory_free

__all__ = ['SHARED_MEMORY_RESERVE', 'spare_shared_memory']

SHARED_MEMORY_RESERVE = 256 * 2 ** 20  # bytes


def spare_shared_memory() -> None:
    """Let forked worker processes put tensors into ``/dev/shm`` only while much of it stays free.

    torch's workers hand a batch over in ``/dev/shm``, whichever sharing strategy is set. When it is full they die of a
    "Bus error", or, since torch 2.10, the batch is lost and the run waits for it for ever. From now on what would leave
    less than :data:`SHARED_MEMORY_RESERVE` free goes through the worker's pipe instead, as numpy arrays do: slower, the
    same numbers. The reserve is for what other workers write at the same moment. What is shared already stays shared.
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
