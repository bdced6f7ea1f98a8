"""Control characters in names do not reach a terminal."""
import logging
import os
import subprocess
import sys
import warnings

import pytest

from cxrdet.core.terminal import guard_output, say, say_error, visible


@pytest.mark.parametrize('text, expected', [
    ('RBC, größer 細胞 👩‍⚕️', 'RBC, größer 細胞 👩‍⚕️'), ('\x1b[31mRED\x1b]0;title\x07', r'\x1b[31mRED\x1b]0;title\x07'),
    ('a\rb\x9b2J\x7f', r'a\rb\x9b2J\x7f'),
    ('ann\u202egpj.exe', r'ann\u202egpj.exe'), ('a\u2066b\u2069', r'a\u2066b\u2069'),
    ('a\udcffb', r'a\udcffb'), ('a\u2028b\x85', r'a\u2028b\x85'), ('two\nlines\tx', 'two\nlines\tx'), (3, '3')])
def test_visible(text, expected):
    assert visible(text) == expected
    assert visible(text, one_line=True) == expected.replace('\n', r'\n').replace('\t', r'\t')


def test_tools_print_through_it(capsys):
    say('a\x1b[2J')
    say_error('two problems\n  a.png\nerror: faked\n\x1b]0;x\x07')
    out, err = capsys.readouterr()
    assert out == 'a\\x1b[2J\n' and err == 'error: two problems\n  a.png\\nerror: faked\\n\\x1b]0;x\\x07\n'


@pytest.fixture
def guarded(monkeypatch):
    monkeypatch.setattr(warnings, 'formatwarning', warnings.formatwarning)
    monkeypatch.setattr(sys, 'excepthook', sys.excepthook)
    factory = logging.getLogRecordFactory()
    guard_output()
    yield
    logging.setLogRecordFactory(factory)


def test_logs_warnings_and_faults(guarded, capsys, caplog):
    logging.getLogger('any').warning('%s\n11/28 17:40:07 - mmengine - INFO - faked', '\x1b[31m')
    assert caplog.messages[-1] == '\\x1b[31m\\n11/28 17:40:07 - mmengine - INFO - faked'
    logging.getLogger('any').warning('\n+---+\n| a |')
    assert caplog.messages[-1] == '\n+---+\n| a |'
    assert '\x1b' not in warnings.formatwarning(UserWarning('\x1b[2J'), UserWarning, 'a', 1)
    sys.excepthook(ValueError, ValueError('\x1b[2J'), None)
    assert capsys.readouterr().err == 'ValueError: \\x1b[2J\n'


def test_the_handlers_of_mmengine_write_it(guarded, tmp_path, capsys):
    from mmengine.logging import MMLogger
    logger = MMLogger('test_terminal', 'test_terminal', log_file=str(tmp_path / 'a.log'))
    logger.warning('class \x1b]0;x\x07')
    for handler in logger.handlers:
        handler.flush()
    assert 'class \\x1b]0;x\\x07' in (tmp_path / 'a.log').read_text()
    assert '\x07' not in capsys.readouterr().err


@pytest.mark.parametrize('arguments', [['--help'], ['list'], ['tarin']])
@pytest.mark.parametrize('closed', [0, 1, 2], ids=['stdin', 'stdout', 'stderr'])
def test_a_closed_stream_is_no_fault(arguments, closed):
    run = subprocess.run([sys.executable, '-m', 'cxrdet', *arguments], capture_output=True, text=True,
                         preexec_fn=lambda: os.close(closed))
    assert run.returncode == (2 if arguments == ['tarin'] else 0) and 'Traceback' not in run.stdout + run.stderr


@pytest.mark.parametrize('arguments', [['--help'], ['list']])
def test_a_full_output_is_named(arguments):
    with open('/dev/full', 'w') as full:
        run = subprocess.run([sys.executable, '-m', 'cxrdet', *arguments], stdout=full, stderr=subprocess.PIPE,
                             text=True)
    assert run.returncode == 2 and run.stderr.startswith('error: standard output: ') and run.stderr.count('\n') == 1


def test_an_output_of_ascii_takes_escapes():
    code = "from cxrdet.core.terminal import guard_output, say; guard_output(); say('\\u2026 \\xe4')"
    run = subprocess.run([sys.executable, '-c', code], stdout=subprocess.PIPE, check=True,
                         env={**os.environ, 'PYTHONIOENCODING': 'ascii'})
    assert run.stdout.split() == [b'\\u2026', b'\\xe4']
