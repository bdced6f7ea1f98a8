"""Other states of this repository, to compare with."""
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def tree_of(commit: str, folder: Path) -> Iterator[Path]:
    """The files of ``commit`` in ``folder``, which must not be there yet and is removed at the end."""
    subprocess.run(['git', 'worktree', 'add', '-q', '--detach', folder, commit], cwd=ROOT, check=True)
    try:
        yield folder
    finally:
        subprocess.run(['git', 'worktree', 'remove', '--force', folder], cwd=ROOT, check=True)
