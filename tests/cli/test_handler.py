"""What ends a command: one line that names the file and what to do, and the exit code."""
import errno
import os
import signal
import sys
from types import SimpleNamespace

import pytest

from cxrdet.cli.handler import guarded
from cxrdet.core.errors import ConfigError, Terminated
from cxrdet.core.files import write_atomic

ARGS = SimpleNamespace(command_line=['cxrdet', 'train', 'a b.py'], launcher='none', resume=False)


def end(error):
    def run(args):
        raise error
    return run


@pytest.mark.parametrize(('run', 'code', 'words'), [
    (lambda args: None, 0, ''), (lambda args: 1, 1, ''), (end(ConfigError('model: no')), 2, 'error: model: no\n'),
    (end(OSError(errno.ENOSPC, 'full', '/d/.x.12-0123abcd.tmp.pth')), 2, 'error: /d/x.pth: No space left on device: '),
    (end(OSError(errno.ENOSPC, 'full', '/d/.cxrdet/predict.tmp/new/a.json')), 2, 'error: /d/a.json: '),
    (end(OSError(errno.ENOSPC, 'full', '/d/.cxrdet/browse_data.train.tmp')), 2, 'error: /d: '),
    (end(PermissionError(errno.EACCES, 'no', '/d/x')), 2, 'error: /d/x: Permission denied: '),
    (end(OSError(errno.ENOSPC, 'full', 'standard output')), 2, 'error: standard output: No space left on device: '),
    (end(ImportError('undefined symbol: x', name='mmcv._ext')), 2, f'error: {__file__}: undefined symbol: x: '),
    (end(KeyboardInterrupt()), 130, "Stopped by Ctrl-C. To go on from the newest checkpoint: cxrdet train 'a b.py' "
                                    '--resume\n'),
    (end(Terminated('the state is in iter_3.pth.')), 143, 'Stopped by SIGTERM: the state is in iter_3.pth. To go on ')])
def test_the_line_and_the_code(run, code, words, capsys, monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    assert guarded('train', ARGS, run) == code
    said = capsys.readouterr().err
    assert said.startswith(words) and said.count('\n') == bool(words)


@pytest.mark.parametrize(('name', 'resume', 'launcher', 'words'), [
    ('train', True, 'none', "'a b.py'\n"), ('train', False, 'pytorch', 'the same command, with --resume\n'),
    ('prepare-data', False, 'none', 'goes on.\n'), ('report', False, 'none', 'begins again.\n')])
def test_how_to_go_on(name, resume, launcher, words, capsys, monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    args = SimpleNamespace(**{**vars(ARGS), 'resume': resume, 'launcher': launcher})
    assert guarded(name, args, end(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err.endswith(words)


def test_only_one_of_several_processes_tells(monkeypatch, capsys):
    monkeypatch.setenv('RANK', '1')
    assert guarded('train', ARGS, end(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == ''


def test_sigterm_lets_go_of_what_is_half_written(tmp_path, capsys):
    before = signal.getsignal(signal.SIGTERM)

    def run(args):
        from cxrdet.core.files import atomic_path
        with atomic_path(tmp_path / 'x.bin') as beside:
            beside.write_bytes(b'half')
            os.kill(os.getpid(), signal.SIGTERM)
    assert guarded('publish', ARGS, run) == 143
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is before
    assert capsys.readouterr().err.startswith('Stopped by SIGTERM. Nothing half-written')


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_full_disk_names_the_file_that_was_meant(tmp_path):
    """The system names none when writing fails; the limit of file sizes stands for the disk."""
    child = os.fork()
    if child == 0:
        import resource
        sys.stderr = open(tmp_path / 'said', 'w')
        (tmp_path / 'said').write_text('')
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        os._exit(guarded('report', ARGS, lambda args: write_atomic(tmp_path / 'page.html', b'x' * 2000)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert (tmp_path / 'said').read_text().startswith(f'error: {tmp_path}/page.html: File too large: ')
    assert [path.name for path in tmp_path.iterdir()] == ['said']


def test_a_fault_of_ours_keeps_its_traceback_and_asks_for_a_report(capsys):
    assert guarded('train', ARGS, lambda args: 1 / 0) == 1
    said = capsys.readouterr().err
    assert 'Traceback' in said and 'ZeroDivisionError' in said
    assert 'Please report it' in said and '\nPython ' in said


def test_a_broken_import_of_ours_is_a_fault(capsys):
    assert guarded('train', ARGS, end(ImportError('no name x', name='cxrdet.core'))) == 1
    assert 'Please report it' in capsys.readouterr().err


def test_what_follows_from_another_process_is_no_fault_of_ours(capsys, monkeypatch):
    error = RuntimeError('gloo: timed out')
    error.follows_from_another = True
    assert guarded('train', ARGS, end(error)) == 1
    assert 'report it' not in capsys.readouterr().err


def test_a_reader_that_has_gone(monkeypatch, tmp_path):
    with open(tmp_path / 'out', 'w') as stream:
        monkeypatch.setattr(sys, 'stdout', stream)
        assert guarded('list', ARGS, end(BrokenPipeError())) == 141
