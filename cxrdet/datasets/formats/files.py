"""Files on the disk: images below a folder, texts and tables that are read as far as they go."""
import csv
import os
from collections.abc import Iterator
from pathlib import Path

from cxrdet.core.csv_text import read_csv
from cxrdet.core.errors import DataError
from cxrdet.core.files import read_text
from cxrdet.core.issues import Finding

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.gif', '.tif', '.tiff', '.webp')


def image_paths(folder: str | Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> Iterator[str]:
    """Paths of all image files (or of others, by their ``suffixes``) in ``folder`` and below, sorted folder by folder;
    hidden names are left out.

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
                waiting.append(entry.path)
            elif entry.is_symlink() and os.path.isdir(entry.path):
                links.append(entry.path)
            elif entry.name.lower().endswith(suffixes) and (entry.is_symlink() or entry.is_file()):
                files.append(entry.path)  # a link that leads nowhere, too: reading it tells
    yield from sorted(files, key=_parts)


def _parts(path: str) -> tuple[str, ...]:
    return Path(path).parts


def read_rows(path: str | Path, findings: list[Finding]) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and rows of a CSV file, each with its line (the header is line 1); rows of another length are told.

    Raises:
        DataError: The file cannot be read or has no header.
    """
    reader = read_csv(read_text(path))
    rows: list[tuple[int, list[str]]] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        while header and not header[-1]:
            header.pop()
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) < len(header) or any(cells[len(header):]):
                findings.append(Finding('error', 'bad_row', f'{len(cells)} cells, but the header has {len(header)}',
                                        str(path), f'line {reader.line_num}'))
            else:
                rows.append((reader.line_num, cells[:len(header)]))
    except csv.Error as error:
        findings.append(Finding('error', 'bad_row', f'no line of a CSV table, and all below it are lost: {error}',
                                str(path), f'line {reader.line_num}'))
    if not header:
        raise DataError(f'{path}: the table is empty.')
    return header, rows
