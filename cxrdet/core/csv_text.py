"""CSV that a spreadsheet may open: no cell of text is a formula, and :func:`read_csv` gives back what was written.

A spreadsheet computes a cell that begins with ``=``, ``+``, ``-`` or ``@``, whoever wrote it: a file or class of the
name ``=HYPERLINK(…)`` would be a link, and worse is known. Such text gets an apostrophe before it, the sign by which
spreadsheets know text, and so does text that begins with apostrophes before such a sign, so that taking one away undoes
it exactly. Numbers, negative ones too, stay numbers. Source of the list of signs: OWASP, "CSV injection".
"""
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

__all__ = ['csv_text', 'escape_cell', 'read_csv', 'unescape_cell']

_SIGN = r'(?:\s*[=+\-@＝＋－＠]| *[\t\r\n])'  # the wide ones count in East Asian spreadsheets
_ESCAPED, _TO_ESCAPE = re.compile(f"'+{_SIGN}"), re.compile(f"'*{_SIGN}")
_NUMBER = re.compile(r'\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?')
_TO_QUOTE = re.compile('[",\r\n]')


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

    Written by hand, since Python's writer puts no quotes around a cell with a lone ``\\r``, which its reader then takes
    for the end of a line.
    """
    return ''.join(','.join(_quoted(escape_cell(cell), alone=len(row) == 1) for cell in row) + '\n' for row in rows)


class read_csv(Iterator[list[str]]):
    """The rows of a CSV text, cells by :func:`unescape_cell`; as ``csv.reader``, with ``line_num``.

    Args:
        text: the whole file; line ends of any kind.
        strict: as of ``csv.reader``.

    Raises: csv.Error as ``csv.reader``.
    """

    def __init__(self, text: str, *, strict: bool = False) -> None:
        self._reader = csv.reader(io.StringIO(text, newline=''), strict=strict)
        self._may_hold_escaped = "'" in text

    @property
    def line_num(self) -> int:
        """Lines read so far."""
        return self._reader.line_num

    def __next__(self) -> list[str]:
        row = next(self._reader)
        return [unescape_cell(cell) for cell in row] if self._may_hold_escaped else row


def _quoted(text: str, *, alone: bool) -> str:
    return '"' + text.replace('"', '""') + '"' if _TO_QUOTE.search(text) or (alone and not text) else text
