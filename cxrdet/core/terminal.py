"""Text on its way out: control characters in names of files, classes and patients must not act on a terminal or page.

A name may hold escape sequences (that clear a terminal, colour it, or rename its window), line breaks that fake a line
of the log, or marks of direction that show ``gpj.exe`` as ``exe.jpg``. Whatever prints, logs or draws text that holds
names passes it through :func:`visible`; the tools do by :func:`say`, :func:`say_error` and :func:`guard_output`.
"""
import io
import logging
import re
import sys
import traceback
import warnings
from contextlib import suppress
from typing import TextIO

_MARKS = '\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f'
_CONTROL = re.compile(f'[\x00-\x08\x0b-\x1f\x7f-\x9f{_MARKS}\ud800-\udfff]')
_IN_A_LINE = re.compile(f'[\x00-\x1f\x7f-\x9f{_MARKS}\ud800-\udfff]')
_FOREIGN_BREAK = re.compile(r'\n(?=\S)')
_FAKED_RECORD = re.compile(r'(?<=.)\n(?=\d{2,4}[/-]\d\d(?:[/-]\d\d)?[ T]\d\d:)', re.DOTALL)


def visible(text: object, *, one_line: bool = False) -> str:
    r"""The text with its control characters, invisible marks and halves of surrogate pairs written as ``\x1b``.

    Args:
        text: anything; its ``str``.
        one_line: line breaks and tabs are written out as well: for a name, a cell of a table, a title.
    """
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    return (_IN_A_LINE if one_line else _CONTROL).sub(_written, text)


def say(text: object) -> None:
    """Print the result of a tool; raises OSError if it can be written no longer, but not where there is no output."""
    try:
        _write(sys.stdout, f'{visible(text)}\n')
    except OSError as error:
        error.filename = 'standard output'
        raise


def say_error(text: object) -> None:
    """Print what ended a tool. Its own further lines are indented, a break before anything else is of a name."""
    with suppress(OSError):
        _write(sys.stderr, f'error: {_FOREIGN_BREAK.sub(_written, visible(text))}\n')


def say_stop(text: object) -> None:
    """Print what is no error: that a tool was stopped, and how to go on."""
    with suppress(OSError):
        _write(sys.stderr, f'{visible(text)}\n')


def _write(stream: TextIO | None, text: str) -> None:
    if stream is not None:  # closed, as by ">&-"
        stream.write(text)
        stream.flush()


def guard_output() -> None:
    """Let log records, warnings and the traceback of a fault pass through :func:`visible`. For tools; idempotent.

    What an output cannot hold in its encoding (as in LANG=C) is written as escapes, not refused.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
    logging.setLogRecordFactory(_Record)
    warnings.formatwarning = _format_warning
    sys.excepthook = _show_fault


class _Record(logging.LogRecord):
    """A record whose message is visible, and holds no line that begins with a date as if it were another record."""

    def getMessage(self) -> str:
        return _FAKED_RECORD.sub(_written, visible(super().getMessage()))


def _written(found: re.Match) -> str:
    return found[0].encode('unicode_escape', 'surrogatepass').decode('ascii')


def _format_warning(message, category, filename, lineno, line=None) -> str:
    return f'{filename}:{lineno}: {category.__name__}: {visible(message)}\n'


def _show_fault(kind, error, trace) -> None:
    say_stop(''.join(traceback.format_exception(kind, error, trace)).rstrip('\n'))
