"""Temporary folders of worker processes: gone however the run ends, those of a killed run with the next."""
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

CODE = '''
import multiprocessing, os, signal, sys, time
from multiprocessing.connection import Listener
from cxrdet.core.temporary import worker_folder
def work(pipe):
    listener = Listener(family='AF_UNIX')  # as a loader's worker that hands tensors over
    pipe.send(listener.address)
    os.closerange(0, 3)
    time.sleep(99)
def main(end):
    assert worker_folder() == worker_folder()
    ours, theirs = multiprocessing.Pipe()
    worker = multiprocessing.get_context('fork').Process(target=work, args=(theirs,), daemon=True)
    worker.start()
    theirs.close()
    print(ours.recv(), worker.pid, flush=True)
    if end == 'error':
        raise RuntimeError
    if end != 'end':
        os.kill(os.getpid(), getattr(signal, end))
main(sys.argv[1])
'''


def run(end, folder):
    done = subprocess.run([sys.executable, '-c', CODE, end], env={**os.environ, 'TMPDIR': str(folder)},
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60)
    address, worker = done.stdout.split()
    return address, int(worker)


@pytest.fixture
def folder():
    """A folder with a short name: the path of a socket may have 107 characters."""
    with tempfile.TemporaryDirectory(dir='/tmp') as name:
        yield Path(name)


@pytest.mark.parametrize('end', ['end', 'error', 'SIGINT'])
def test_nothing_stays_behind(folder, end):
    address, _ = run(end, folder)
    assert address.startswith(f'{folder}/cxrdet-')
    assert os.listdir(folder) == []


def test_the_next_run_removes_what_a_killed_one_left_and_nothing_else(folder):
    for name in ('pymp-of-others', 'cxrdet-without-lock', 'cxrdet-linked/x'):
        (folder / name).mkdir(parents=True)
    (folder / 'cxrdet-link').symlink_to('cxrdet-linked')
    others = sorted(os.listdir(folder))
    _, worker = run('SIGKILL', folder)
    run('end', folder)
    assert len(os.listdir(folder)) == len(others) + 1  # its worker lives
    os.kill(worker, signal.SIGKILL)
    for _ in range(100):  # until it is dead
        run('end', folder)
        if len(os.listdir(folder)) == len(others):
            break
    assert sorted(os.listdir(folder)) == others


def test_a_long_path(folder):
    """The socket has its place, as far as Python gives it one."""
    long = folder / ('x' * (70 - len(str(folder))))
    long.mkdir()
    address, _ = run('end', long)
    assert address.startswith(f'{long}/pymp-') and os.listdir(long) == []
