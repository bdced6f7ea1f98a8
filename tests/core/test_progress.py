import io

from cxrdet.core.progress import labelled_progress_bar, progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_one_line_where_no_terminal_is(monkeypatch):
    monkeypatch.setattr('sys.stderr', stderr := io.StringIO())
    for done in range(1, 8):
        progress_bar(done, 7, noun='samples')
    assert stderr.getvalue() == f'[{"#" * 30}] 7/7 samples\n'


def test_a_terminal_line_is_redrawn(monkeypatch):
    monkeypatch.setattr('sys.stderr', stderr := Terminal())
    for done in range(1, 4):
        labelled_progress_bar('val', done, 3)
    first, second, last = stderr.getvalue().split('\r')
    assert first == f'val   [{"#" * 10}{" " * 20}] 1/3 images'
    assert second == f'val   [{"#" * 20}{" " * 10}] 2/3 images'
    assert last == f'val   [{"#" * 30}] 3/3 images\n'


def test_long_work_is_drawn_a_hundred_times(monkeypatch):
    monkeypatch.setattr('sys.stderr', stderr := Terminal())
    for done in range(1, 12_001):
        progress_bar(done, 12_000)
    assert stderr.getvalue().count('\r') == 99 and stderr.getvalue().endswith('12000/12000 images\n')
