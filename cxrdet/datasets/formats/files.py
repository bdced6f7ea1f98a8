"""Image files: those below a folder, and those that annotations name."""
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cxrdet.core.files import text_encoding
from cxrdet.core.issues import DataTable, Place
from cxrdet.core.paths import is_outside, name_fault
from cxrdet.datasets.formats.tfrecord import split_record_path

_SPELT_IN_WAYS = re.compile(r'[\\%]|[^\x00-\x7f]')
SPLITS = {'train': 'train', 'val': 'val', 'valid': 'val', 'validation': 'val', 'test': 'test'}
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.gif', '.tif', '.tiff', '.webp')


def images_by_name(folder: str | Path) -> dict[str, list[str]]:
    """Paths of the image files in a folder and below, by their last parts."""
    named: dict[str, list[str]] = {}
    for path in files_below(folder):
        named.setdefault(os.path.basename(path), []).append(path)
    return named


def files_below(folder: str | Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES, *,
                enter: Callable[[str], Any] = bool) -> Iterator[str]:
    """Paths of all files in ``folder`` and below that end in one of ``suffixes``, in any case, sorted folder by folder.

    Hidden names are left out, and folders below whose names ``enter`` says no to.

    Linked folders are entered, each folder once: by its own name where it lies below ``folder``, else by the first
    link that leads to it. A link to a folder that holds ``folder`` itself is not followed.
    """
    top = os.path.realpath(folder)
    seen, files = set(), []
    waiting, links = [str(folder)], []
    while waiting or links:
        if not waiting:  # all real folders are done
            links.sort(key=_parts)
            waiting.append(links.pop(0))
        path = waiting.pop()
        real = os.path.realpath(path)
        if real in seen or len(real) < len(top) and os.path.commonpath((top, real)) == real:
            continue
        seen.add(real)
        try:
            with os.scandir(path) as entries:
                entries = [entry for entry in entries if not entry.name.startswith('.')]
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting += [entry.path] if enter(entry.name) else []
            elif entry.is_symlink() and os.path.isdir(entry.path):
                links += [entry.path] if enter(entry.name) else []
            elif entry.name.lower().endswith(suffixes) and (entry.is_symlink() or entry.is_file()):
                files.append(entry.path)  # a link that leads nowhere, too: reading it tells
    yield from sorted(files, key=_parts)


def _parts(path: str) -> list[str]:
    return path.split(os.sep)


def tell_outside(table: DataTable, roots: Sequence[str | Path | None], *, allowed: bool = False,
                 files: Sequence[str] | None = None) -> None:
    """Tell images whose names lead out of ``roots`` (the set first), their ``files`` being those of the table or files
    of annotations; their rows stand in ``table.outside``."""
    for row, (name, file) in enumerate(zip(table.names, files or table.files)):
        if text := outside_fault(name, file, roots, allowed=allowed):
            table.outside.add(row)
            table.tell_image('error', 'outside_file', text, row)


def outside_fault(name: str, file: str, roots: Sequence[str | Path | None], *, allowed: bool = False) -> str:
    """Why the image that is called ``name`` in the data, and is ``file``, is not to be looked at; ``''``: it may be.

    Judged as by :func:`cxrdet.core.paths.is_outside`, empty ``roots`` do not count; a name with a zero byte is never
    ``allowed``.
    """
    if '\0' in name:
        return f'{name!r} holds a zero byte'
    if allowed or not name_fault(name):
        return ''
    roots = [root for root in roots if root] or [os.curdir]
    if is_outside(name, os.sep) or is_outside(os.path.abspath(file), roots[0], roots):  # a drive; elsewhere
        return f'{name!r} leads out of {roots[0]}; it is not looked at (allow_outside=True, --allow-outside: it is)'
    return ''


def tell_missing(table: DataTable, rows: Iterable[int]) -> None:
    """Tell which of the images in ``rows`` are not there, empty or folders; what lies outside is not looked at."""
    for row in rows:
        if row in table.outside or split_record_path(file := table.files[row]) is not None:
            continue
        if os.path.isdir(file):
            table.tell_image('error', 'missing_file', f'a folder, not an image file: {file}', row)
        elif not os.path.isfile(file):
            hint = ' (it holds backslashes, as Windows writes them)' if '\\' in table.names[row] else ''
            table.tell_image('error', 'missing_file', f'no such image file: {file}{hint}', row)
        elif not os.path.getsize(file):
            table.tell_image('error', 'empty_file', f'the image file is empty (0 bytes): {file}', row)


def add_image(table: DataTable, folder: str | Path, name: str, place: Place, **columns: str) -> int:
    """Append an image ``name`` in ``folder`` to a table, as :meth:`DataTable.add_image` does; returns its row."""
    known = spelled_on_disk(name, folder)
    row = table.add_image(known, os.path.join(folder, known), place, **columns)
    if known != name:
        table.tell_image('info', 'image_name', f'"{name}" is read as "{known}"', row)
    return row


def find_by_name(table: DataTable, folder: str | Path) -> None:
    """For images that are not where the annotations say: the file in ``folder`` or below that alone has their name
    and is no other image of the set. A name that leads out is left as it is."""
    listings: dict[str, set[str]] = {}
    named: dict[str, list[str]] | None = None
    for row, file in enumerate(table.files):
        where, name = os.path.split(file)
        if where not in listings:
            with suppress(OSError, ValueError):
                listings[where] = set(os.listdir(where or os.curdir))
        if name in listings.setdefault(where, set()) or name_fault(table.names[row]) or os.path.lexists(file):
            continue
        if named is None:
            named, taken = images_by_name(folder), set(map(os.path.abspath, table.files))
        found = named.get(name.replace('\\', '/').rpartition('/')[2], ())
        if len(found) == 1 and os.path.abspath(found[0]) not in taken:
            table.files[row] = found[0]


def spelled_on_disk(name: str, folder: str | Path) -> str:
    """A name from data as the file is called: itself if there is such a file, else the only one that is there with
    slashes for backslashes, without percent encoding, or with its accents encoded the other way (NFC, NFD)."""
    if not _SPELT_IN_WAYS.search(name) or '\0' in name or os.path.lexists(os.path.join(folder, name)):
        return name
    plain = name.replace('\\', '/')
    ways = {unicodedata.normalize(form, text) for text in (name, plain, unquote(plain)) for form in ('NFC', 'NFD')}
    there = [way for way in ways if '\0' not in way and os.path.isfile(os.path.join(folder, way))]
    return there[0] if len(there) == 1 else name


def annotation_files(path: Path, *suffixes: str) -> Iterator[Path]:
    """``path`` itself, or the files in a folder and up to three below it, by suffix; to see of what format a set is.

    Readers go to the bottom, by :func:`files_below`.
    """
    level = [path] if path.is_dir() else []
    if not level and path.suffix.lower() in suffixes:
        yield path
    for _ in range(4):
        below = []
        for folder in level:
            with suppress(OSError):
                for name in sorted(os.listdir(folder)):
                    if not name.startswith('.') and os.path.splitext(name)[1].lower() in suffixes:
                        yield folder / name
                    elif not name.startswith('.') and os.path.isdir(folder / name):
                        below.append(folder / name)
        level = below


def first_bytes(path: str | Path, count: int = 4096) -> str:
    """The beginning of a file as text, to see of what format it is; ``''`` where it cannot be read."""
    try:
        with open(path, 'rb') as stream:
            data = stream.read(count)
        return data.decode(text_encoding(data), 'replace').lstrip('\ufeff \t\r\n')
    except OSError:
        return ''


def split_of(name: str) -> str:
    """``train``, ``val`` or ``test``, by the first folder in a path that says so (``valid``: val); ``''`` for none."""
    return next((SPLITS[part.lower()] for part in name.split('/')[:-1] if part.lower() in SPLITS), '')
