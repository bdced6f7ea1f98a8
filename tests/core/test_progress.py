import io
import os
import pty
import re
import subprocess
import sys

from cxrdet.core.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def open_terminal(monkeypatch):
    """Not a fixture: pytest puts its own standard error in place when the test begins."""
    monkeypatch.setattr('sys.stderr', stderr := Terminal())
    return stderr


def test_quiet_where_no_terminal_is(monkeypatch):
    monkeypatch.setattr('sys.stderr', stderr := io.StringIO())
    bar = ProgressBar()
    for done in range(1, 8):
        bar('val', done, 7)
    assert stderr.getvalue() == ''


def test_a_terminal_shows_share_rate_and_time_left(monkeypatch):
    terminal = open_terminal(monkeypatch)
    bar = ProgressBar('samples')
    for done in range(1, 4):
        bar(done, 3)
    last = terminal.getvalue().rpartition('\r')[2]
    assert last.startswith('100%|') and re.search(r'3/3 \[\d\d:\d\d<00:00', last)
    assert 'samples/s' in last and last.endswith('\n')


def test_a_bar_for_each_part_and_names_that_are_safe(monkeypatch):
    terminal = open_terminal(monkeypatch)
    bar = ProgressBar()
    for what, done in (('train', 1), ('train', 2), ('\x1b[2J', 2)):
        bar(what, done, 2)
    train, other, rest = terminal.getvalue().split('\n')
    assert train.rpartition('\r')[2].startswith('train: 100%|') and rest == ''
    assert other.rpartition('\r')[2].startswith(r'\x1b[2J: 100%|')


def test_totals_that_change_or_are_not_known(monkeypatch):
    terminal = open_terminal(monkeypatch)
    bar = ProgressBar()
    bar(1, 0)
    bar(2, 5)
    bar(4, 4)
    assert '4/4' in terminal.getvalue() and bar.bar is None


def test_long_work_is_not_drawn_for_each_piece(monkeypatch):
    terminal = open_terminal(monkeypatch)
    bar = ProgressBar()
    for done in range(1, 12_001):
        bar(done, 12_000)
    assert 1 < terminal.getvalue().count('\r') < 1000


def test_a_terminal_that_does_not_tell_its_size():
    """As of `docker exec -t` or a serial line: the bar has the usual 80 columns."""
    code = 'from cxrdet.core.progress import ProgressBar; bar = ProgressBar(); bar("val", 1, 2); bar("val", 2, 2)'
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ('COLUMNS', 'LINES')}
    subprocess.run([sys.executable, '-c', code], stdin=theirs, stdout=theirs, stderr=theirs, check=True,
                   env=environment)
    shown = os.read(ours, 9999).decode()
    os.close(ours), os.close(theirs)
    last = shown.rstrip().rpartition('\r')[2]
    assert last.startswith('val: 100%|') and len(last) <= 80
