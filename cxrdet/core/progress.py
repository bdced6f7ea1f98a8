"""Progress on standard error, of tqdm: a bar with rate and time left in a terminal, nothing elsewhere (a log file)."""
from shutil import get_terminal_size
from typing import Any

from tqdm import tqdm

from cxrdet.core.terminal import visible


class ProgressBar:
    """Called after each piece of the work: ``bar(done, total)``, or ``bar(what, done, total)`` with a bar for each
    ``what``, such as the name of a split. ``total`` may change, and is 0 if it is not known; at ``done == total`` the
    bar ends. ``noun`` names the pieces.
    """

    def __init__(self, noun: str = 'images') -> None:
        self.noun, self.bar, self.what = noun, None, ''

    def __call__(self, *state: Any) -> None:
        *name, done, total = state
        what = visible(name[0], one_line=True) if name else ''
        if self.bar is None or what != self.what:
            self.close()
            self.what = what
            size = get_terminal_size()  # tqdm draws nothing where the terminal does not tell it
            self.bar = tqdm(desc=what or None, unit=f' {self.noun}', total=total or None, disable=None,
                            ncols=size.columns, nrows=size.lines)
        self.bar.total = total or None
        self.bar.update(done - self.bar.n)
        if done == total:
            self.close()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
        self.bar = None
