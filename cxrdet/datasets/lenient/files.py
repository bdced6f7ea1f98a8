"""Files on the disk: images below a folder, texts and tables that are read as far as they go."""
import csv
import os
from collections.abc import Iterator
from pathlib import Path

from cxrdet.core.csv_text import read_csv
from cxrdet.core.errors import DataError
from cxrdet.core.files import read_text
from cxrdet.core.findings import Finding

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


def image_paths(folder: str | Path) -> Iterator[str]:
    """Paths of all image files in ``folder`` and below, sorted folder by folder; hidden names are left out."""
    try:
        with os.scandir(folder) as entries:
            entries = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith('.'):
            continue
        if entry.is_dir():
            yield from image_paths(entry.path)
        elif entry.name.lower().endswith(IMAGE_SUFFIXES):
            yield entry.path


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
