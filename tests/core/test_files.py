import gzip
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from cxrdet.core import files
from cxrdet.core.errors import DataError
from cxrdet.core.files import atomic_path, read_text, remove_leftovers, write_atomic


@pytest.mark.parametrize(('data', 'expected'), [(b'\0\xff', b'\0\xff'), ('é\n', 'é\n'.encode()), (b'', b''), ('', b'')])
def test_write(tmp_path, data, expected):
    path = tmp_path / 'new' / 'file.bin'
    assert write_atomic(path, data) == path
    assert path.read_bytes() == expected
    assert os.listdir(path.parent) == ['file.bin']


def test_writers_get_the_suffix_and_the_old_content_stands_until_the_end(tmp_path):
    path = tmp_path / 'picture.png'
    path.write_text('old')
    with atomic_path(path) as beside:
        assert beside.suffix == '.png'
        assert beside.parent == tmp_path
        beside.write_text('new')
        assert path.read_text() == 'old'
    assert path.read_text() == 'new'
    assert os.listdir(tmp_path) == ['picture.png']


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / 'file.txt'
    path.write_text('old')

    def write():
        with atomic_path(path) as beside:
            beside.write_text('ne')
            raise error('no space')
    with pytest.raises(error, match='no space'):
        write()
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['file.txt']


def test_a_writer_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / 'file.txt'):
        pass
    assert os.listdir(tmp_path) == []


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / 'plain').write_text('')
    write_atomic(tmp_path / 'atomic', '')
    assert (tmp_path / 'atomic').stat().st_mode == (tmp_path / 'plain').stat().st_mode


def test_a_link_is_followed(tmp_path):
    (tmp_path / 'target.txt').write_text('old')
    (tmp_path / 'link.txt').symlink_to('target.txt')
    write_atomic(tmp_path / 'link.txt', 'new')
    assert (tmp_path / 'link.txt').is_symlink()
    assert (tmp_path / 'target.txt').read_text() == 'new'


def test_a_folder_is_not_replaced(tmp_path):
    (tmp_path / 'folder').mkdir()
    with pytest.raises(OSError, match='folder'):
        write_atomic(tmp_path / 'folder', 'text')
    assert os.listdir(tmp_path) == ['folder']


def test_leftovers_of_ended_processes_are_removed(tmp_path):
    killed = subprocess.Popen([sys.executable, '-c', ''])
    killed.wait()
    dead, own = f'.a.{killed.pid}-0123abcd.tmp.pth', f'.b.{os.getpid()}-0123abcd.tmp'
    running = f'.c.{os.getppid()}-0123abcd.tmp.pth'
    others = ['a.pth', '.hidden.tmp', f'.d.{killed.pid}-xyz.tmp', running]
    for name in [dead, own, *others]:
        (tmp_path / name).write_text('')
    assert [path.name for path in remove_leftovers(tmp_path)] == sorted([dead, own])
    assert sorted(os.listdir(tmp_path)) == sorted(others)


def test_a_kill_while_writing_leaves_a_leftover_that_is_found(tmp_path):
    path = tmp_path / 'file.txt'
    path.write_text('old')
    child = os.fork()
    if child == 0:
        with atomic_path(path) as beside:
            beside.write_text('half')
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert path.read_text() == 'old'
    assert len(os.listdir(tmp_path)) == 2
    assert len(remove_leftovers(tmp_path)) == 1
    assert os.listdir(tmp_path) == ['file.txt']


def test_nothing_to_remove(tmp_path):
    assert remove_leftovers(tmp_path) == []
    assert remove_leftovers(tmp_path / 'missing') == []


@pytest.mark.parametrize('content', [
    b'a,b\r\n\xc3\xa9', b'\xef\xbb\xbfa,b\r\n\xc3\xa9', gzip.compress(b'a,b\r\n\xc3\xa9', mtime=0)])
def test_text_plain_marked_or_gzipped(tmp_path, content):
    (tmp_path / 't').write_bytes(content)
    assert read_text(tmp_path / 't') == 'a,b\r\n\u00e9'


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-16-le', 'utf-16-be', 'utf-32', 'utf-32-le', 'utf-32-be'])
def test_text_of_wide_characters(tmp_path, encoding):
    (tmp_path / 't').write_bytes('a,b\r\n\u00e9'.encode(encoding))
    assert read_text(tmp_path / 't') == 'a,b\r\n\u00e9'


def test_empty_text(tmp_path):
    (tmp_path / 't').touch()
    assert read_text(tmp_path / 't') == ''


@pytest.mark.parametrize(('content', 'message'), [
    (b'ab\xff', r't: the list is not UTF-8 text \(byte 2\)\.'),
    (gzip.compress(b'abc' * 99, mtime=0)[:20], 't: cannot read the list: '),
    (b'PK\x03\x04\x14', 't: the list is no text but a ZIP archive'),
    (b'\x1f\x8bnothing', 't: cannot read the list: '), (None, 't: cannot read the list: No such file or directory')])
def test_text_that_cannot_be_read(tmp_path, content, message):
    if content is not None:
        (tmp_path / 't').write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_text(tmp_path / 't', 'list')


@pytest.mark.parametrize('fault', [None, OSError(95, 'Operation not supported')])
def test_systems_and_disks_without_locks(tmp_path, monkeypatch, fault):
    def flock(*_):
        raise fault
    monkeypatch.setattr(files, 'fcntl', fault and SimpleNamespace(flock=flock, LOCK_EX=2, LOCK_NB=4))
    with open(tmp_path / 'lock', 'w') as stream:
        assert files.lock_file(stream.fileno()) is False


def test_a_lock_that_another_holds(tmp_path):
    with open(tmp_path / 'lock', 'w') as one, open(tmp_path / 'lock') as other:
        assert files.lock_file(one.fileno()) is True
        with pytest.raises(BlockingIOError):
            files.lock_file(other.fileno())
    with open(tmp_path / 'lock') as again:
        assert files.lock_file(again.fileno()) is True


@pytest.mark.parametrize('name', ['x' * 251 + '.txt', 'ä' * 125 + '.json'])
def test_a_name_as_long_as_can_be(tmp_path, name):
    write_atomic(tmp_path / name, 'whole')
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, 'whole')]
