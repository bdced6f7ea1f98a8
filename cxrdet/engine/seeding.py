"""Random numbers that follow from the seed, the rank and the position in a run, and from nothing that came before.

Python, numpy and torch keep one global generator each per process. albumentations keeps its own in every ``Compose``,
which no global seed reaches and which forked workers copy, so that all of them would draw the same numbers; a
transform may also hold a ``numpy.random.Generator``, ``random.Random`` or ``torch.Generator``. All are set here.
"""
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from cxrdet.registry import FUNCTIONS

_WRAPPED = ('dataset', 'datasets')  # where the dataset wrappers of mmengine, mmdet and torch keep the inner ones
_PIPELINES = ('pipeline', 'transform', 'transforms')


def seed_generators(*key: int) -> None:
    """Seed the generators of Python, numpy and torch (CPU and CUDA) of this process from non-negative integers.

    Different keys of one length give independent streams (:class:`numpy.random.SeedSequence`); each of the three
    generators gets a seed of its own.
    """
    words = np.random.SeedSequence(key).generate_state(4)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    torch.manual_seed(int(words[2]) << 32 | int(words[3]))


def seed_dataset(dataset: Any, *key: int) -> int:
    """Seed the generators that the transforms of ``dataset`` own, each by its own stream; return their number.

    Found are generators of numpy, Python and torch and objects with albumentations' ``set_random_state`` or with a
    method ``set_random_seed(seed)``, in the pipelines of the dataset and of the datasets that it wraps, at any depth.
    """
    owners = list(_owners(dataset, set()))
    for owner, sequence in zip(owners, np.random.SeedSequence(key).spawn(len(owners)), strict=True):
        seed = int(sequence.generate_state(1)[0])
        if isinstance(owner, np.random.Generator):
            owner.bit_generator.state = type(owner.bit_generator)(sequence).state
        elif isinstance(owner, random.Random):
            owner.seed(seed)
        elif isinstance(owner, torch.Generator):
            owner.manual_seed(seed)
        elif hasattr(owner, 'set_random_state'):
            owner.set_random_state(np.random.default_rng(sequence), random.Random(seed))
        else:
            owner.set_random_seed(seed)
    return len(owners)


@FUNCTIONS.register_module()
def worker_init_fn(worker_id: int, **_unused: Any) -> None:
    """Seed a data loading worker from the base seed that the main process drew when it made the iterator.

    torch has put ``base seed + worker_id`` into ``torch.initial_seed()``: a worker's numbers follow from the state of
    the main process, and differ between workers, ranks and epochs (with MMEngine's own function not between epochs).
    """
    seed = torch.initial_seed()
    seed_generators(seed)
    seed_dataset(get_worker_info().dataset, seed)


class WorkerSeeder:
    """A ``worker_init_fn`` for persistent workers: before their next epoch they can be seeded as new ones would be.

    They learn of it through shared memory when they make their next batch. The data set stays what it is: its worker's
    copy gets a method ``__getitems__``, which torch asks for a batch.

    Args:
        loader: The loader of the workers; see :meth:`fits`.
    """

    def __init__(self, loader: DataLoader) -> None:
        self._generator = loader.generator
        self._shared = torch.zeros(2, dtype=torch.int64).share_memory_()  # number of the seeding, base seed

    @staticmethod
    def fits(loader: DataLoader) -> bool:
        """Whether ``loader`` has persistent workers that fetch their samples by index, batch by batch."""
        return loader.persistent_workers and loader.batch_sampler is not None and hasattr(
            loader.dataset, '__dict__') and not isinstance(loader.dataset, IterableDataset)

    def __call__(self, worker_id: int, **_unused: Any) -> None:
        worker_init_fn(worker_id)
        dataset = get_worker_info().dataset
        dataset.__getitems__ = _SeededBatches(dataset, worker_id, self._shared)

    def __getstate__(self) -> dict:
        return dict(self.__dict__, _generator=None)  # which workers do not need, and spawn cannot send

    def renew(self) -> None:
        """Draw the base seed that the loader would draw for new workers, and let the living ones have it."""
        self._shared[1] = torch.empty((), dtype=torch.int64).random_(generator=self._generator)
        self._shared[0] += 1


class _SeededBatches:
    """Gives the samples of a batch; seeds the worker first, if it is to be seeded anew."""

    def __init__(self, dataset: Any, worker_id: int, shared: torch.Tensor) -> None:
        self.dataset, self.worker_id, self.shared = dataset, worker_id, shared
        self.own, self.seen = getattr(dataset, '__getitems__', None), int(shared[0])

    def __call__(self, indices: list) -> list:
        number, base_seed = self.shared.tolist()
        if number != self.seen:
            self.seen = number
            seed_generators(base_seed + self.worker_id)
            seed_dataset(self.dataset, base_seed + self.worker_id)
        return self.own(indices) if self.own else [self.dataset[index] for index in indices]


def _owners(part: Any, seen: set[int], *, in_pipeline: bool = False) -> Iterator[Any]:
    """What holds random numbers in the pipelines of a data set, then in those of the data sets that it wraps."""
    if id(part) in seen or isinstance(part, (type, torch.Tensor, torch.nn.Module)):
        return
    seen.add(id(part))
    if in_pipeline and (isinstance(part, (np.random.Generator, random.Random, torch.Generator))
                        or hasattr(part, 'set_random_state') or hasattr(part, 'set_random_seed')):
        yield part
    elif isinstance(part, (list, tuple)):
        for inner in part:
            yield from _owners(inner, seen, in_pipeline=in_pipeline)
    elif isinstance(part, dict) or hasattr(part, '__dict__'):
        own = part if isinstance(part, dict) else vars(part)
        names = (*_PIPELINES, *_WRAPPED) if not in_pipeline else own
        for name in names:
            yield from _owners(own.get(name), seen, in_pipeline=in_pipeline or name in _PIPELINES)
