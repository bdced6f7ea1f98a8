"""Writing a set of data so that a killed run can go on: no file is ever half written, none of others overwritten."""
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cxrdet.core.files import write_json
from cxrdet.core.folders import OutputFolder

MANIFEST = 'prepared.json'
Progress = Callable[[str, int, int], None]  # called with (what, done, total) after each image


@contextmanager
def prepared_folder(out_dir: str | os.PathLike, manifest: dict[str, Any], *, force: bool = False,
                    inputs: Iterable[str | os.PathLike] = ()) -> Iterator[Path]:
    """Yield the folder to write the set of ``manifest`` into: an :class:`cxrdet.core.folders.OutputFolder` that keeps
    finished files of the same set, so that a killed run goes on.

    Args:
        out_dir: Folder of the set.
        manifest: What the set is made from, JSON types only; written as ``prepared.json``.
        force: Replace another set that was prepared here.
        inputs: Files and folders that are read.

    Raises: DataError if ``out_dir`` holds files but no prepared set, or another set and ``force`` is not set.
    """
    with OutputFolder(out_dir, 'prepare_data', inputs=inputs, made_from=manifest, force=force) as new:
        write_json(new / MANIFEST, manifest, indent=1)
        yield new
