"""Progress bars on standard error."""
import sys
import time


def progress_bar(done: int, total: int, noun: str = 'images', label: str = '') -> None:
    """Show that ``done`` of ``total`` (at least 1) are through; a call after each, the last with ``done == total``.

    It is redrawn a hundred times in a terminal, and written once, at the end, elsewhere
    (a log file). ``label`` stands before the bar, such as the name of the split.
    """
    finished = done == total
    if finished or (sys.stderr.isatty() and done % max(total // 100, 1) == 0):
        _write(done, total, noun, '\n' if finished else '\r', label)


def labelled_progress_bar(label: str, done: int, total: int) -> None:
    progress_bar(done, total, label=label)


class TimedProgressBar:
    """The same for long work, or of unknown length: ``bar(what, done, total)``; ``total`` 0 if it is not known.

    It is redrawn five times a second in a terminal, and grows by a line every ten seconds elsewhere (a log file).
    """

    def __init__(self) -> None:
        self.shown = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        terminal, now = sys.stderr.isatty(), time.monotonic()
        if done != total and now - self.shown < (0.2 if terminal else 10):
            return
        self.shown = now
        _write(done, total, what, '\r' if terminal and done != total else '\n')


def _write(done: int, total: int, noun: str, end: str, label: str = '') -> None:
    bar = f'[{"#" * (30 * done // total):<30}] {done}/{total}' if total else str(done)
    sys.stderr.write((f'{label:<5} ' if label else '') + f'{bar} {noun}{end}')
    sys.stderr.flush()
