"""Which commit the code of a package is."""
import os
import subprocess
from pathlib import Path


def commit_of(package: Path) -> tuple[str, bool] | None:
    """The commit that is checked out (40 hex digits), and whether files of its repository have changed since.

    A package that is installed or copied into the folder of somebody's own project
    lies in that project's repository without being part of it, so the commit counts
    only where the repository tracks the package. None otherwise, without a commit,
    or where git is not installed.
    """
    def git(*command: str) -> str:
        clean = {name: value for name, value in os.environ.items() if not name.startswith('GIT_')}
        return subprocess.run(['git', '-C', str(package), *command], capture_output=True, text=True, check=True,
                              timeout=20, env=clean).stdout.strip()
    try:
        git('ls-files', '--error-unmatch', '--', 'version.py')
        return git('rev-parse', 'HEAD'), bool(git('status', '--porcelain', '-uno'))
    except (OSError, subprocess.SubprocessError):
        return None
