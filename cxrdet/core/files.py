"""Files are written beside and renamed, so that a reader finds the old content or the new one, never a part of it.

A process that is killed while it writes leaves the old file untouched and a hidden leftover, named
``.<name>.<process id>-<token>.tmp<suffix>``, which :func:`remove_leftovers` takes away.
"""
import gzip
import hashlib
import json
import os
import re
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

from cxrdet.core.errors import DataError

_LONGEST_NAME = 255  # bytes, on all usual file systems
_LEFTOVER = re.compile(r'\..+\.(\d+)-[0-9a-f]{8}\.tmp(\.\w+)?')


@contextmanager
def atomic_path(path: str | os.PathLike, *, durable: bool = True) -> Iterator[Path]:
    """Yield a hidden path beside ``path``; what is written there stands under ``path`` after the block, whole.

    The hidden path has the suffix of ``path`` (writers of pictures go by it). At the end of the block the content is
    forced to the disk (unless it is one of many, ``durable=False``) and renamed over ``path``. Where the block raises,
    the hidden file is removed and ``path`` stays as it was. Missing parent folders are made; a symbolic link is
    followed, not replaced.

    Raises:
        FileNotFoundError: the block has not written the file.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    ending = f'.{os.getpid()}-{secrets.token_hex(4)}.tmp{target.suffix}'
    stem = os.fsencode(target.stem)[:max(0, _LONGEST_NAME - 1 - len(os.fsencode(ending)))]  # a long name leaves no room
    beside = target.with_name(f'.{os.fsdecode(stem)}{ending}')
    try:
        yield beside
        if durable:
            _force_to_disk(beside)
        os.replace(beside, target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    if durable:
        _force_to_disk(target.parent)


def lock_file(stream: int) -> bool:
    """Lock an open file for this process, until it is closed or the process ends, however it does; without waiting.

    Returns: whether it is locked; False where the system or its disk has no such locks.
    Raises: BlockingIOError if another process holds it.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def open_locked(path: str | os.PathLike) -> tuple[int, bool]:
    """Open a file, made if need be, and lock it as :func:`lock_file` does; descriptor, and whether it is locked.

    Its holder may remove the file before it closes it: the file that is open is the one that is there.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it cannot be opened.
    """
    while True:
        stream = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            locked = lock_file(stream)
            if not locked or os.path.samestat(os.fstat(stream), os.stat(path)):
                return stream, locked
        except FileNotFoundError:  # its holder took it away meanwhile
            pass
        except BaseException:
            os.close(stream)
            raise
        os.close(stream)


def text_encoding(data: bytes) -> str:
    """``utf-8-sig``, or UTF-16 or UTF-32, by the mark at the beginning or the zero bytes of a first character."""
    for mark, encoding in ((b'\xff\xfe\0\0', 'utf-32'), (b'\0\0\xfe\xff', 'utf-32'), (b'\xff\xfe', 'utf-16'),
                           (b'\xfe\xff', 'utf-16')):
        if data.startswith(mark):
            return encoding
    if data[1:4] == b'\0\0\0':
        return 'utf-32-le'
    if data[:3] == b'\0\0\0':
        return 'utf-32-be'
    return 'utf-16-le' if data[1:2] == b'\0' else 'utf-16-be' if data[:1] == b'\0' else 'utf-8-sig'


def read_text(path: str | os.PathLike, what: str = 'file') -> str:
    """The text of a file, UTF-8, or UTF-16 as Windows writes it, or UTF-32; gzipped or not; line ends as they stand.

    Args:
        path: the file.
        what: how it is called in errors.

    Raises:
        DataError: it cannot be read, its gzip data are broken, or it is text of neither kind.
    """
    try:
        data = Path(path).read_bytes()
        data = gzip.decompress(data) if data.startswith(b'\x1f\x8b') else data
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f'{path}: cannot read the {what}: {getattr(error, "strerror", None) or error}.') from None
    if data.startswith(b'PK\x03\x04'):
        raise DataError(f'{path}: the {what} is no text but a ZIP archive, as Excel workbooks are. Save it as '
                        'UTF-8 text (CSV).')
    encoding = text_encoding(data)
    try:
        return data.decode(encoding).lstrip('\ufeff')
    except UnicodeDecodeError as error:
        start, broken = (error.start, '') if encoding == 'utf-8-sig' else (
            0, f', nor whole {encoding[:6].upper()}, which its first bytes announce')
        raise DataError(f'{path}: the {what} is not UTF-8 text (byte {start}){broken}. Save it as UTF-8.') from None


def write_atomic(path: str | os.PathLike, data: bytes | str, *, durable: bool = True) -> Path:
    """Write ``data`` (text as UTF-8) to ``path`` by :func:`atomic_path`; return ``path``."""
    with atomic_path(path, durable=durable) as beside:
        beside.write_bytes(data.encode('utf-8') if isinstance(data, str) else data)
    return Path(path)


def write_json(path: str | os.PathLike, content: Any, *, indent: int | None = None) -> Path:
    """Write ``content`` as JSON to ``path`` by :func:`atomic_path`, in lines where there is an ``indent``."""
    return write_atomic(path, json.dumps(content, indent=indent) + ('\n' if indent else ''))


def remove_leftovers(folder: str | os.PathLike) -> list[Path]:
    """Remove what killed processes left in ``folder`` (not below it) while writing; return the removed paths.

    The file of another process that still runs on this machine is left alone.
    """
    removed = []
    for path in sorted(Path(folder).glob('.*.tmp*')):
        match = _LEFTOVER.fullmatch(path.name)
        if match and not _is_other_process(int(match[1])):
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def _is_other_process(process_id: int) -> bool:
    if process_id == os.getpid():
        return False
    try:
        os.kill(process_id, 0)  # signal 0: asks only whether the process is there
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _force_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: str | os.PathLike) -> str:
    """SHA-256 of a file in hexadecimal, read a MiB at a time."""
    digest = hashlib.sha256()
    with open(path, 'rb') as stream:
        while block := stream.read(2 ** 20):
            digest.update(block)
    return digest.hexdigest()
