import os
from collections.abc import Sequence
from pathlib import Path

from cxrdet.core.history import read_history
from cxrdet.visualization.curves import compare_histories
from cxrdet.visualization.plots import write_panels


def plot_curves(runs: Sequence[str | os.PathLike], out: str | os.PathLike, *,
                keys: Sequence[str] | None = None) -> Path:
    """Compare the curves of several runs in one picture, one line a run; return ``out``.

    Args:
        runs: work folders or ``history.json`` files. The legend has the names of the
            folders, with as many of those above as tell them apart.
        out: picture; the suffix says which kind (.png, .svg, .pdf).
        keys: one panel each, e.g. ``train/loss``, ``coco/bbox_mAP``, ``lr/all``; by default losses and main scores.

    Raises:
        DataError: a run has no history, or its file is none.
        ConfigError: there is no run, no run has a key, or the kind of picture is not known.
    """
    histories = [read_history(run) for run in runs]
    return write_panels(out, compare_histories(dict(zip(_short_names(runs), histories, strict=True)), keys))


def _short_names(runs: Sequence[str | os.PathLike]) -> list[str]:
    folders = [Path(run).resolve() for run in runs]
    folders = [path.parent if path.is_file() else path for path in folders]
    depth = 1
    while len({path.parts[-depth:] for path in folders}) < len(set(folders)):
        depth += 1
    names = ['/'.join(path.parts[-depth:]) for path in folders]
    return [name if names.count(name) == 1 else f'{name} ({names[:i].count(name) + 1})' for i, name in enumerate(names)]
