"""Names of files that stand in data: whether they may be read, and where they may be written. Nothing is opened."""
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from cxrdet.core.errors import DataError

_DRIVE = re.compile(r'[A-Za-z]:')
_SEPARATORS = re.compile(r'[/\\]')


def name_fault(name: str) -> str:
    """Why a name from data is none for a file to write below a folder, in words; ``''`` for one that is."""
    parts = _SEPARATORS.split(name)
    if '\0' in name:
        return 'holds a zero byte'
    if not any(part not in ('', '.') for part in parts):
        return 'names no file'
    if not parts[0] or _DRIVE.match(name):
        return 'is absolute'
    return 'leads out of its folder by ".."' if '..' in parts else ''


def join_inside(folder: str | os.PathLike, name: str, *, renamed: bool = False) -> Path:
    """``folder / name`` for a file that is to be written, where the name comes from data.

    Args:
        folder, name: As above.
        renamed: The file is written beside and renamed, so that a link under its own name is not followed.

    Raises:
        DataError: The name is empty, absolute (also with a drive letter), holds ``..`` or a zero byte, or a symbolic
            link in ``folder`` would lead it out.
    """
    fault = name_fault(name)
    if fault:
        raise DataError(f'{name!r:.200} {fault}: nothing is written there, only below {folder}. Rename the image.')
    path, root = Path(folder, name), os.path.realpath(folder)
    for place in (*([] if renamed else [path]), *path.parents):
        if place == Path(folder):
            break
        if place.is_symlink() and not within(os.path.realpath(place), [root]):
            raise DataError(f'{path}: {place} is a link that leads out of {folder}; nothing is written through it.')
    return path


def within(path: str | os.PathLike, folders: Iterable[str | os.PathLike]) -> bool:
    """Whether a path is one of ``folders`` or lies below one, by the text of both; links are not resolved."""
    text = os.path.abspath(path)
    return any(text == folder or text.startswith(folder.rstrip(os.sep) + os.sep)
               for folder in (os.path.abspath(folder) for folder in folders))


def is_outside(name: str, folder: str | os.PathLike, roots: Sequence[str | os.PathLike] = ()) -> bool:
    """Whether a name from data, which is relative to ``folder``, leads out of it and out of all ``roots``.

    Judged by the text alone: ``a/../b.png`` is inside, links that stand in the folders are followed when the file is
    read, and only the folders themselves are taken by both of their names, as given and with links resolved.
    """
    if _DRIVE.match(name) and name[2:3] in ('/', '\\'):
        return True
    if not name.startswith('/') and '..' not in name.split('/'):
        return False
    path = os.path.join(folder, name)
    roots = [folder, *roots]
    return not within(path, roots) and not within(path, [os.path.realpath(root) for root in roots])
