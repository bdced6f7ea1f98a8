"""CSV: tables as people and spreadsheets write them are read in one place, :func:`read_table`; and what is written here
holds no formula.

A spreadsheet computes a cell that begins with ``=``, ``+``, ``-`` or ``@``, whoever wrote it. Such
text gets an apostrophe before it, the sign by which spreadsheets know text, and so does text that
begins with apostrophes before such a sign, so that taking one away undoes it exactly. Numbers stay
numbers. Source: OWASP, "CSV injection".
"""
import csv
import io
import os
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cxrdet.core.errors import DataError
from cxrdet.core.files import read_text

_SEPARATORS = ',;\t'
_NAMES_SEPARATOR = re.compile(f'"?sep=([{_SEPARATORS}])"?(?=[\r\n])')

_SIGN = r'(?:\s*[=+\-@＝＋－＠]| *[\t\r\n])'  # the wide ones count in East Asian spreadsheets
_ESCAPED, _TO_ESCAPE = re.compile(f"'+{_SIGN}"), re.compile(f"'*{_SIGN}")
_NUMBER = re.compile(r'\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?')
_TO_QUOTE = re.compile('[",\r\n]')
_WHOLE = re.compile(r'(\d+)\.0+')


def escape_cell(cell: object) -> str:
    """The text of a cell, with an apostrophe before what a spreadsheet would compute; numbers as they are."""
    if cell is None:
        return ''
    text = str(cell)
    if not isinstance(cell, str) or not _TO_ESCAPE.match(text) or _NUMBER.fullmatch(text):
        return text
    return f"'{text}"


def unescape_cell(text: str) -> str:
    """The text that :func:`escape_cell` was given."""
    return text[1:] if _ESCAPED.match(text) else text


def csv_text(rows: Iterable[Sequence]) -> str:
    """Rows as CSV: commas, lines that end in ``\\n``, cells by :func:`escape_cell`; None is an empty cell.

    Written by hand, since Python's writer puts no quotes around a cell with a lone ``\\r``, which
    its reader then takes for the end of a line.
    """
    return ''.join(','.join(_quoted(escape_cell(cell), alone=len(row) == 1) for cell in row) + '\n' for row in rows)


class CsvTable(NamedTuple):
    """A table: names of its columns, rows with the line that each begins in (the header is in line 1), each with a cell
    a column, and faults (line, words) of rows that are none."""

    header: list[str]
    rows: list[tuple[int, tuple[str, ...]]]
    faults: list[tuple[int, str]]


def read_table(path: str | os.PathLike, expected: Iterable[str] = (), *, what: str = 'table') -> CsvTable:
    """Read a CSV file as people and spreadsheets write them.

    The text is UTF-8, UTF-16 or UTF-32, plain or gzipped; cells are separated by commas, semicolons or
    tabs, as a first line ``sep=;`` says, else by what gives most of the ``expected`` names of columns;
    blanks around cells are taken away; lines of empty cells, and empty cells at the end of a line, are
    passed over. ``what`` is what the file is called in errors.

    Raises: DataError if it cannot be read, or is empty.
    """
    text = read_text(path, what)
    if not text.strip():
        raise DataError(f'{path}: the {what} is empty ({len(text)} characters).')
    named = _NAMES_SEPARATOR.match(text)  # a line of Excel's
    reader = csv.reader(io.StringIO(text[named.end():] if named else text, newline=''), strict=True,
                        skipinitialspace=True, delimiter=named[1] if named else _separator(text, set(expected)))
    plain = unescape_cell if "'" in text else str
    header, rows, faults, line = [], [], [], 1
    while True:
        try:
            cells = tuple(plain(cell).strip() for cell in next(reader))
        except StopIteration:
            break
        except csv.Error as error:
            cells = ()
            lost = f', so that the lines to {reader.line_num} are lost' if reader.line_num > line else ''
            faults.append((line, f'not readable as CSV: {error}{lost}'))
        if any(cells) and not header:
            header = list(cells[:max(k for k, cell in enumerate(cells, 1) if cell)])
            faults += [(line, f'the header names the column "{name}" twice')
                       for name in sorted({name for name in header if name and header.count(name) > 1})]
        elif any(cells):
            if len(cells) < len(header) or any(cells[len(header):]):
                lines = f' (the lines {line} to {reader.line_num} are in one pair of quotes)' \
                    if reader.line_num > line else ''
                faults.append((line, f'{len(cells)} cells, but the header has {len(header)}{lines}'))
            else:
                rows.append((line, cells[:len(header)]))
        line = reader.line_num + 1
    return CsvTable(header, rows, faults)


def _separator(text: str, expected: set[str]) -> str:
    first = next(line for line in io.StringIO(text) if line.strip())
    names = {mark: {name.strip(' "\r\n\t') for name in first.split(mark)} for mark in _SEPARATORS}
    return max(_SEPARATORS, key=lambda mark: (len(names[mark] & expected), len(names[mark])))


def whole_number(text: str) -> str:
    """``'61'`` of ``'61.0'``, as spreadsheets and pandas write whole numbers; any other text as it is."""
    match = _WHOLE.fullmatch(text)
    return match[1] if match else text


def _quoted(text: str, *, alone: bool) -> str:
    return '"' + text.replace('"', '""') + '"' if _TO_QUOTE.search(text) or (alone and not text) else text
