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


def leave(folder, *, silent=0.0, **changes):
    """A lock as another run would have left it, its last heartbeat ``silent`` seconds ago."""
    path = folder / 'training.lock'
    path.write_text(json.dumps({**module._identity(), 'token': 'other', **changes}))
    os.utime(path, (time.time() - silent,) * 2)
    return path


@pytest.fixture
def dead():
    """Number of a process that has ended."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


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
    while not (tmp_path / 'training.lock').exists():
        time.sleep(0.002)
    with pytest.raises(ConfigError, match=rf'process {child} on'):
        hold()
    os.kill(child, signal.SIGKILL)
    while module._start_time(child):  # a zombie: it counts as dead before anybody asks for its exit code
        time.sleep(0.002)
    hold()
    os.waitpid(child, 0)
    assert owner(tmp_path)['pid'] == os.getpid()


@pytest.mark.parametrize(('changes', 'silent', 'alive'), [
    ({}, 3600, True),  # lives on this machine, though it was stopped for an hour
    (dict(start='1'), 0, False),  # its number belongs to another process now
    (dict(host='elsewhere'), 0, True),
    (dict(host='elsewhere'), 3600, False),
    (dict(boot='another container'), 0, True),
    (dict(boot='another container'), 3600, False),
    (dict(host='elsewhere', pid=1, start='1'), 0, True),  # what this machine knows of that number means nothing
    (dict(host='elsewhere', pid=1, start='1'), 3600, False),
])
def test_who_is_alive(changes, silent, alive, hold, tmp_path):
    leave(tmp_path, silent=silent, **changes)
    if alive:
        with pytest.raises(ConfigError, match=r'is training in this folder'):
            hold()
        assert owner(tmp_path)['token'] == 'other'
    else:
        hold()
        assert owner(tmp_path)['token'] != 'other'
    assert [path.name for path in tmp_path.iterdir()] == ['training.lock']


def test_a_process_that_is_no_more(dead, hold, tmp_path, capfd):
    leave(tmp_path, pid=dead)
    hold()
    assert owner(tmp_path)['pid'] == os.getpid()


@pytest.mark.parametrize(('text', 'silent', 'alive'), [('', 0, True), ('[1', 0, True), ('', 3600, False)])
def test_a_lock_that_says_nothing(text, silent, alive, hold, tmp_path):
    leave(tmp_path).write_text(text)
    os.utime(tmp_path / 'training.lock', (time.time() - silent,) * 2)
    if alive:
        with pytest.raises(ConfigError, match='an unknown run is training'):
            hold()
    else:
        hold()


@pytest.mark.parametrize(('job', 'count', 'alive'), [('7', '1', False), ('7', '0', True), ('8', '1', True)])
def test_a_requeued_job_takes_over(job, count, alive, hold, tmp_path, monkeypatch):
    leave(tmp_path, host='elsewhere', jobs={'SLURM_JOB_ID 7': 0})
    monkeypatch.setenv('SLURM_JOB_ID', job)
    monkeypatch.setenv('SLURM_RESTART_COUNT', count)
    if alive:
        with pytest.raises(ConfigError):
            hold()
    else:
        hold()


def test_clocks_that_differ(hold, tmp_path, monkeypatch):
    """Only the times of files are compared: this machine's clock may be a year off."""
    monkeypatch.setattr(time, 'time', lambda: 0.0)
    path = leave(tmp_path, host='elsewhere')
    os.utime(path)
    with pytest.raises(ConfigError):
        hold()


def test_a_file_system_without_links(hold, tmp_path, monkeypatch):
    def link(*_):
        raise PermissionError(1, 'Operation not permitted')
    monkeypatch.setattr(os, 'link', link)
    hold()
    with pytest.raises(ConfigError, match='is training'):
        hold()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(ConfigError, match='cannot write into the work folder'):
        RunLock(tmp_path / 'file' / 'run').acquire()


def test_the_heart_beats_and_sees_a_takeover(hold, tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'HEARTBEAT', 0.005)
    lock = hold()
    path = tmp_path / 'training.lock'
    os.utime(path, (0, 0))
    while not path.stat().st_mtime:
        time.sleep(0.002)
    path.unlink()
    while not path.exists() or not path.read_text():  # removed by hand: it is put back
        time.sleep(0.002)
    lock.check()
    leave(tmp_path, host='elsewhere', pid=5)
    while lock._thread.is_alive():
        time.sleep(0.002)
    with pytest.raises(TrainingError, match='process 5 on elsewhere has taken this folder over'):
        lock.check()
    lock.release()
    assert owner(tmp_path)['token'] == 'other'


@pytest.mark.parametrize('stale', [False, True])
def test_of_many_at_once_one_wins(stale, dead, tmp_path):
    if stale:
        leave(tmp_path, pid=dead)
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


def test_in_a_group_all_learn_of_it(in_group, dead, tmp_path):
    def work(rank):
        lock = RunLock(tmp_path / 'taken')
        try:
            lock.acquire()
        except ConfigError:
            return 'refused'
        finally:
            lock.release()
        return 'taken'
    (tmp_path / 'taken').mkdir()
    leave(tmp_path / 'taken', host='elsewhere')
    assert in_group(work) == ['refused', 'refused']
    leave(tmp_path / 'taken', pid=dead)
    assert in_group(work) == ['taken', 'taken']
    assert not list((tmp_path / 'taken').iterdir())
