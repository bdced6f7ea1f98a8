"""Errors that a person can act on: the tools print the text of a :class:`CxrdetError` and exit with code 2.

Everything that is the user's to mend (a config, a data file, a checkpoint) raises a
subclass, whose text says what was expected, what came and what to do; any other
exception is a fault of the program and keeps its traceback.
"""
import difflib
from collections.abc import Iterable
from numbers import Real


class CxrdetError(Exception):
    """Parent of all errors that the tools print without a traceback."""


class ConfigError(CxrdetError, ValueError):
    """A config that cannot be run: unknown key, type or argument, value out of range."""


class DataError(CxrdetError, ValueError):
    """A data file that cannot be used: missing, unreadable, malformed or inconsistent."""


class CheckpointError(CxrdetError, RuntimeError):
    """A checkpoint that cannot be used: torn, of another model, or in need of executing pickled code."""


class TrainingError(CxrdetError, RuntimeError):
    """A training that cannot go on: its loss is no number any more."""


class MemoryShortageError(CxrdetError, RuntimeError):
    """A run that needs more memory than the GPU or the machine has."""


class Terminated(BaseException):
    """SIGTERM has asked this process to end; the text, if any, says what was saved before."""


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return ``' Did you mean "x"?'`` with the closest of ``choices``, whatever the
    case, or ``''`` where none is close.
    """
    spelled: dict[str, str] = {}
    for choice in choices:
        spelled.setdefault(str(choice).casefold(), str(choice))
    close = difflib.get_close_matches(str(name).casefold(), spelled, n=1, cutoff=0.6)
    return f' Did you mean "{spelled[close[0]]}"?' if close else ''


def check_numbers(owner: str, **numbers: tuple[float, str]) -> None:
    """Raise ConfigError for the first number outside its interval: ``check_numbers('Loss', keep=(keep, '(0, 1]'))``."""
    for name, (value, interval) in numbers.items():
        low, high = map(float, interval[1:-1].split(','))
        if not isinstance(value, Real) or not low <= value <= high or (
                interval[0] == '(' and value == low or interval[-1] == ')' and value == high):
            raise ConfigError(f'{owner}: {name} must lie in {interval}, got {value!r}.')


def check_choice(what: str, value: object, choices: Iterable[object]) -> None:
    """Raise ConfigError for a value that is none of ``choices``: ``check_choice('Loss: over', over, ('a', 'b'))``."""
    if value not in choices:
        raise ConfigError(f'{what} must be one of {", ".join(map(str, choices))}, got "{value}".'
                          f'{did_you_mean(str(value), map(str, choices))}')


def error_text(error: BaseException) -> str:
    """The text of an error as a person should see it: without the traceback of a worker process of a ``DataLoader``."""
    text = str(error)
    if not text.startswith('Caught ') or 'Original Traceback' not in text:
        return text
    kind = type(error)
    return text.rpartition(f'{kind.__module__}.{kind.__qualname__}: ')[2].strip() or text
