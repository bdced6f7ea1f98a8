"""A progress bar on standard error: redrawn in a terminal, one line at the end elsewhere (a log file)."""
import sys


def progress_bar(done: int, total: int, noun: str = 'images', label: str = '') -> None:
    """Show that ``done`` of ``total`` (at least 1) are through; a call after each, the last with ``done == total``.

    Args:
        done, total: counts.
        noun: what is counted.
        label: stands before the bar, such as the name of the split.
    """
    finished = done == total
    if finished or (sys.stderr.isatty() and done % max(total // 100, 1) == 0):
        hashes = '#' * (30 * done // total)
        label, end = f'{label:<5} ' if label else '', '\n' if finished else '\r'
        sys.stderr.write(f'{label}[{hashes:<30}] {done}/{total} {noun}{end}')
        sys.stderr.flush()


def labelled_progress_bar(label: str, done: int, total: int) -> None:
    """:func:`progress_bar` of images for work that goes through several splits; ``label`` is the split's name."""
    progress_bar(done, total, label=label)
