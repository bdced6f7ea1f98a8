"""One run at a time in a work folder, whatever has become of the run before."""
import json
import os
import signal
import time

import pytest

from cxrdet.core.errors import ConfigError, TrainingError
from cxrdet.engine import lock as module
from cxrdet.engine.lock import RunLock


@pytest.fixture
def hold(tmp_path):
    """Take the lock; it is given back after the test."""
    held = []

    def take(folder=tmp_path):
        lock = RunLock(folder)
        lock.acquire()
        held.append(lock)
        return lock
    yield take
    for lock in held:
        lock.release()


def owner(folder) -> dict:
    return json.loads((folder / 'training.lock').read_text())


def test_one_at_a_time(hold, tmp_path):
    first = hold()
    assert owner(tmp_path)['pid'] == os.getpid()
    with pytest.raises(ConfigError, match=rf'{tmp_path}: process {os.getpid()} on .*--work-dir'):
        hold()
    with pytest.raises(ConfigError, match='is training in this folder'):
        RunLock(tmp_path).look()
    first.release()
    RunLock(tmp_path).look()
    RunLock(tmp_path / 'none').look()
    assert not list(tmp_path.iterdir())
    hold()
    first.release()  # a second time: the lock of the other stays
    assert (tmp_path / 'training.lock').exists()


def test_a_killed_run(hold, tmp_path):
    child = os.fork()
    if child == 0:
        RunLock(tmp_path).acquire()
        time.sleep(60)
    while not ((tmp_path / 'training.lock').exists() and (tmp_path / 'training.lock').read_text()):
        time.sleep(0.002)
    with pytest.raises(ConfigError, match=rf'process {child} on'):
        hold()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    hold()
    assert owner(tmp_path)['pid'] == os.getpid()


@pytest.mark.parametrize('text', ['', '[1', '{"host": "elsewhere", "pid": 1, "since": "1970-01-01 00:00:00"}'])
def test_a_file_that_nobody_holds(text, hold, tmp_path):
    """It is left from a run that was killed, here or on another machine: the new run takes it."""
    (tmp_path / 'training.lock').write_text(text)
    RunLock(tmp_path).look()
    hold()
    assert owner(tmp_path)['pid'] == os.getpid()


def test_a_lock_that_says_nothing(hold, tmp_path):
    hold()
    (tmp_path / 'training.lock').write_text('')
    with pytest.raises(ConfigError, match='an unknown run is training'):
        hold()


def test_workers_of_a_killed_run_do_not_hold_its_lock(hold, tmp_path):
    reading, writing = os.pipe()
    run = os.fork()
    if run == 0:
        RunLock(tmp_path).acquire()
        if os.fork() == 0:
            os.write(writing, str(os.getpid()).encode())
        time.sleep(60)
    worker = int(os.read(reading, 20))
    os.kill(run, signal.SIGKILL)
    os.waitpid(run, 0)
    hold()
    os.kill(worker, signal.SIGKILL)
    os.close(reading), os.close(writing)


def test_a_file_system_without_locks(hold, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(module, 'print_log', lambda text, **_: said.append(text))
    monkeypatch.setattr('cxrdet.core.files.fcntl', None)
    hold()
    hold()
    assert len(said) == 2 and all('no file locks' in text for text in said)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(ConfigError, match='cannot write into the work folder'):
        RunLock(tmp_path / 'file' / 'run').acquire()


def test_a_lock_that_was_removed(hold, tmp_path, monkeypatch):
    monkeypatch.setattr(module, '_LOOK_EVERY', 0)
    lock, path = hold(), tmp_path / 'training.lock'
    path.unlink()
    lock.check()  # it is put back
    assert owner(tmp_path)['pid'] == os.getpid()
    path.unlink()
    other = hold()
    with pytest.raises(TrainingError, match=f'process {os.getpid()} on .* has taken this folder over'):
        lock.check()
    lock.release()
    assert path.exists()
    other.check()


@pytest.mark.parametrize('stale', [False, True])
def test_of_many_at_once_one_wins(stale, tmp_path):
    if stale:
        (tmp_path / 'training.lock').write_text('{}')
    start, children = time.monotonic() + 0.2, []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                lock = RunLock(tmp_path)
                time.sleep(max(0.0, start - time.monotonic()))
                lock.acquire()
                (tmp_path / f'won_{os.getpid()}').touch()
                while not (tmp_path / 'end').exists():
                    time.sleep(0.005)
                code = 0
            except ConfigError:
                code = 3
            finally:
                os._exit(code)
        children.append(child)
    codes = {}
    while len(codes) < 8:  # those of this test: a child of another may end meanwhile
        for child in set(children) - set(codes):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                codes[child] = os.waitstatus_to_exitcode(status)
        if len(codes) == 7:
            (tmp_path / 'end').touch()
        time.sleep(0.005)
    assert sorted(codes.values()) == [0] + [3] * 7
    winner, = tmp_path.glob('won_*')
    assert owner(tmp_path)['pid'] == int(winner.name.partition('_')[2])


def test_in_a_group_all_learn_of_it(hold, in_group, tmp_path):
    def work(rank):
        lock = RunLock(tmp_path / 'taken')
        try:
            lock.acquire()
        except ConfigError:
            return 'refused'
        finally:
            lock.release()
        return 'taken'
    other = hold(tmp_path / 'taken')
    assert in_group(work) == ['refused', 'refused']
    other.release()
    assert in_group(work) == ['taken', 'taken']
    assert not list((tmp_path / 'taken').iterdir())
