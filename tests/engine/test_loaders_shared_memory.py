import ctypes
import multiprocessing
import sys
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, default_collate
from torch.utils.data._utils.collate import default_collate_fn_map

from cxrdet.core.machine import shared_memory_free
from cxrdet.engine import loaders
from cxrdet.engine.loaders import SHARED_MEMORY_RESERVE, spare_shared_memory

MEMBERS = [torch.arange(6, dtype=torch.uint8).reshape(2, 3), torch.arange(12.)[3:9:2], torch.zeros(0, 4),
           torch.tensor([1.5, -2], dtype=torch.bfloat16), torch.tensor([[True, False]]), torch.eye(3).to_sparse(),
           torch.nn.Parameter(torch.ones(2)), torch.arange(6.).reshape(2, 3).t()]

@pytest.fixture
def sparing(monkeypatch):
    """Shared memory is spared in this test; gives a function that says how many bytes are free."""
    monkeypatch.setattr(ForkingPickler, '_extra_reducers', dict(ForkingPickler._extra_reducers))
    monkeypatch.setitem(default_collate_fn_map, torch.Tensor, None)
    spare_shared_memory()
    return lambda free: monkeypatch.setattr(loaders, 'shared_memory_free', lambda: free)


def refuse(storage):
    raise RuntimeError('unable to allocate shared memory')


def equal(one, other):
    return one.dtype == other.dtype and one.stride() == other.stride() and torch.equal(one, other)


def test_batches_pass_through_pipes(sparing, monkeypatch):
    sparing(2 ** 26)
    monkeypatch.setattr(loaders, 'reduce_storage', refuse)
    data = [dict(inputs=torch.full((2, 2), i), parts=MEMBERS) for i in range(3)]
    batches = list(DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context='fork'))
    assert [int(batch['inputs'][0, 0]) for batch in batches] == [0, 1, 2]
    for batch in batches:
        for got, expected in zip(batch['parts'], MEMBERS, strict=True):
            assert got.layout == expected.layout and got.requires_grad == expected.requires_grad
            if got.layout == torch.strided:
                assert equal(got, expected)
                got.data[:] = 0  # may be written to, as what comes through shared memory
            else:
                assert torch.equal(got.to_dense(), expected.to_dense())


@pytest.mark.parametrize('free, shared', [(None, True), (SHARED_MEMORY_RESERVE + 8, True),
                                          (SHARED_MEMORY_RESERVE + 7, False), (0, False)])
def test_shared_memory_serves_while_there_is_enough(sparing, monkeypatch, free, shared):
    sparing(free)
    monkeypatch.setattr(loaders, 'reduce_storage', lambda storage: (str, ('shared',)))
    assert (loaders._reduce(torch.zeros(8, dtype=torch.uint8).untyped_storage())[0] is str) == shared


def test_what_is_shared_stays_shared(sparing):
    sparing(0)
    common = torch.zeros(2).share_memory_()
    received = torch.multiprocessing.get_context('fork').SimpleQueue()
    received.put(common)
    received.get()[0] = 7
    assert common.tolist() == [7, 0]


@pytest.mark.parametrize('free, shared', [(None, True), (SHARED_MEMORY_RESERVE + 16, True),
                                          (SHARED_MEMORY_RESERVE + 15, False)])
def test_stacking_by_torch_itself(sparing, monkeypatch, free, shared):
    """torch's ``default_collate``, which MMPretrain's configs use, stacks in shared memory."""
    sparing(free)
    monkeypatch.setattr(loaders, 'collate_tensor_fn', lambda batch, collate_fn_map: 'shared')
    stacked = default_collate([dict(x=np.full(2, i, np.float32)) for i in range(2)])['x']
    assert stacked == 'shared' if shared else stacked.tolist() == [[0, 0], [1, 1]]


def with_a_megabyte(results):
    """In a process of its own: mount a /dev/shm of 1 MiB and pass batches of 4 MiB through a worker."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_mounts, new_user, private = 0x20000, 0x10000000, 0x44000
    if libc.unshare(new_mounts) and libc.unshare(new_mounts | new_user) or libc.mount(
            b'none', b'/', None, private, None) or libc.mount(b'tmpfs', b'/dev/shm', b'tmpfs', 0, b'size=1m'):
        results.send(None)
        return
    torch.set_num_threads(1)  # more hang in a fork
    data = [torch.full((2 ** 20,), i, dtype=torch.uint8) for i in range(8)]
    received = []
    for collate in (list, default_collate):
        loader = DataLoader(data, batch_size=4, num_workers=1, collate_fn=collate, timeout=60,
                            multiprocessing_context='fork')
        received.append([int(member.sum()) >> 20 for batch in loader for member in batch])
    results.send(received)


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='mounts are those of Linux')
def test_batches_larger_than_shared_memory(sparing, monkeypatch):
    monkeypatch.setattr(loaders, 'shared_memory_free', shared_memory_free)
    fork = multiprocessing.get_context('fork')
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=with_a_megabyte, args=(sender,))
    process.start()
    sender.close()
    try:
        received = receiver.recv()
        process.join()
    finally:
        process.kill()
    if received is None:
        pytest.skip('this system lets no process mount a file system of its own')
    assert received == [list(range(8))] * 2
