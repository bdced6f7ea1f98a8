"""Temporary files of worker processes, which go with the process that started the workers."""
import os
import shutil
import tempfile
from contextlib import suppress
from multiprocessing import util
from pathlib import Path

from cxrdet.core.files import lock_file

_PREFIX = 'cxrdet-'
_LONGEST = 74  # characters; in it come /pymp-12345678/listener-12345678, and a socket's path may have 107


def worker_folder() -> Path:
    """The folder in which the worker processes of this process make their temporary files, made at the first call.

    By itself each worker makes a folder ``pymp-*``, which stays behind when the worker is stopped from outside. This
    one serves all of them and goes when this process ends, by an error or Ctrl-C too; what a killed process has left
    is removed here by the next.
    """
    if hasattr(os, 'getuid'):  # not on Windows, which has no such locks either
        with suppress(OSError):
            remove_stale(Path(tempfile.gettempdir()))
    before = tempfile.tempdir
    own = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        if len(str(own)) <= _LONGEST:
            tempfile.tempdir = str(own)
        folder = Path(util.get_temp_dir())  # made now, or the one that this process or its parent has
    finally:
        tempfile.tempdir = before
    if folder.parent != own:
        own.rmdir()
        return folder
    stream = os.open(own / 'new', os.O_RDWR | os.O_CREAT, 0o600)  # open as long as the process
    if lock_file(stream):
        os.rename(own / 'new', own / 'lock')
    util.Finalize(None, shutil.rmtree, args=(own,), kwargs={'ignore_errors': True}, exitpriority=-101)  # after workers
    return folder


def remove_stale(place: Path) -> None:
    """Remove the folders in ``place`` whose process, and its workers, have ended without doing so."""
    for folder in place.glob(f'{_PREFIX}*'):
        if folder.is_symlink() or not folder.is_dir() or folder.lstat().st_uid != os.getuid():
            continue
        with suppress(OSError):  # no lock, or the process is there
            stream = os.open(folder / 'lock', os.O_RDWR | os.O_NOFOLLOW)
            try:
                if lock_file(stream):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(stream)
