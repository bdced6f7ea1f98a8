"""Room for a new run in a work folder that an earlier one has used."""
import os
import time
from itertools import chain
from pathlib import Path

__all__ = ['move_earlier_run']

_FILES = ('best_*.pth', 'epoch_*.pth', 'iter_*.pth', 'last_checkpoint', 'training_plot.png', 'metrics.json')


def move_earlier_run(work_dir: str | os.PathLike, *, keep: str | os.PathLike | None = None) -> Path | None:
    """Move the records and checkpoints of an earlier run in ``work_dir`` into a folder there; nothing is overwritten.

    An earlier run is known by its ``history.json``, which is moved last, so that a move that was cut short is taken up
    again. Logs lie in folders of their own for each run and stay.

    Args:
        work_dir: Work folder of the new run.
        keep: A checkpoint that stays where it is: the one that the new run begins with.

    Returns:
        The folder, ``earlier_<date>_<time>`` by when the earlier run wrote its records; None if there was no such run.
    """
    work_dir = Path(work_dir)
    records = work_dir / 'history.json'
    if not records.is_file():
        return None
    kept = None if keep is None else Path(keep).resolve()
    written = time.strftime('%Y%m%d_%H%M%S', time.localtime(records.stat().st_mtime))
    folder = work_dir / f'earlier_{written}'
    folder.mkdir(exist_ok=True)
    for path in [*chain(*map(work_dir.glob, _FILES)), records]:
        if path.resolve() != kept:
            path.rename(_free(folder / path.name))
    return folder


def _free(path: Path) -> Path:
    """``path``, or if it is taken, the first name ``<stem>_2``, ``<stem>_3`` … that is free."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f'{path.stem}_{number}')
    return free
