"""Checkpoints are read without executing pickled code.

``torch.load(weights_only=True)`` knows tensors and plain containers. MMEngine's checkpoints also hold logged scalars
(``HistoryBuffer``), numpy arrays and numpy numbers, and the two curves of ``OneCycleLR``; exactly these are allowed
here in addition, under the names that numpy 1 and numpy 2 give them. MMEngine's own loader allows ``getattr`` as well
and, where that is not enough, falls back to the unsafe loader.
"""
import os
import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

from cxrdet.core.errors import CheckpointError

try:
    from numpy._core import multiarray
except ImportError:  # numpy < 1.26
    from numpy.core import multiarray

_METHODS = ('current', 'max', 'mean', 'min')
_CURVES = ('_annealing_cos', '_annealing_linear')
_OFFENDERS = (r'GLOBAL (\S+)', r'unrecognized function (.+)', r'but got (.+)')
_NUMBERS = '?' + np.typecodes['AllInteger'] + np.typecodes['Float'] + 'U'


def _alias(function: Callable, module: str, name: str) -> Callable:
    """Give ``function`` the path under which a pickle names it (torch 2.4 knows no other way to allow an alias)."""
    def stand_in(*args):
        return function(*args)
    stand_in.__module__, stand_in.__name__, stand_in.__qualname__ = module, name, name
    return stand_in


def _one_cycle(*_) -> None:
    """Stand in for the class of OneCycleLR, of which a file may name the curves only."""
    raise UnpicklingError('Unsupported global: GLOBAL OneCycleParamScheduler()')


def _attribute(owner: Callable, name: str) -> Callable:
    """Stand in for ``getattr``, by which files name a HistoryBuffer's four statistics and OneCycleLR's two curves."""
    if owner is HistoryBuffer and name in _METHODS:
        return getattr(HistoryBuffer, name)
    if owner is _one_cycle_alias() and name in _CURVES:
        return getattr(OneCycleParamScheduler, name)
    raise UnpicklingError(f'Unsupported global: GLOBAL getattr({getattr(owner, "__name__", "…")},{name})')


@lru_cache(maxsize=1)
def _one_cycle_alias() -> Callable:
    return _alias(_one_cycle, OneCycleParamScheduler.__module__, OneCycleParamScheduler.__qualname__)


@lru_cache(maxsize=1)
def _allowed() -> list[Callable]:
    aliases = [_alias(_attribute, module, 'getattr') for module in ('builtins', '__builtin__')] + [_one_cycle_alias()]
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        aliases += [_alias(getattr(multiarray, name), module, name) for name in ('_reconstruct', 'scalar')]
    return [HistoryBuffer, Counter, np.ndarray, np.dtype, *{type(np.dtype(code)) for code in _NUMBERS}, *aliases]


def safe_load(file: str | os.PathLike | BinaryIO, *, map_location: Any = 'cpu', trust: bool = False,
              name: str | None = None) -> Any:
    """Read a file of ``torch.save``; with ``trust`` its pickled code is executed.

    Args:
        file: path or binary stream.
        map_location: as in :func:`torch.load`.
        trust: allow everything that the file holds. Only for files of people you trust.
        name: how errors call the file; by default its path.

    Raises:
        CheckpointError: the file is missing, empty, cut off, no checkpoint, or needs the execution of code.
    """
    is_path = isinstance(file, (str, os.PathLike))
    name = name or (os.fspath(file) if is_path else 'checkpoint')
    if is_path:
        _check_file(Path(file), name)
    try:
        if trust:
            return torch.load(file, map_location=map_location, weights_only=False)
        return _load_restricted(file, map_location)
    except UnpicklingError as error:
        offender = next((found[1] for found in (re.search(p, str(error)) for p in _OFFENDERS) if found), None)
        if offender is None:
            raise CheckpointError(_damaged(file if is_path else None, name, error)) from error
        raise CheckpointError(
            f'{name}: to read this file, code that is pickled in it would have to be executed ({offender}). It was '
            'refused. If you know who made the file and trust them, pass --trust-checkpoint (trust=True in Python); '
            'otherwise ask for a file with weights only.') from error
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:  # a torn file fails in many ways: EOFError, RuntimeError, KeyError, struct.error …
        raise CheckpointError(_damaged(file if is_path else None, name, error)) from error


def _load_restricted(file, map_location) -> Any:
    serialization = torch.serialization
    allowed = [part for part in _allowed() if part not in serialization.get_safe_globals()]
    if hasattr(serialization, 'safe_globals'):
        with serialization.safe_globals(allowed):
            return torch.load(file, map_location=map_location, weights_only=True)
    serialization.add_safe_globals(allowed)  # torch 2.4: allowed until the process ends
    return torch.load(file, map_location=map_location, weights_only=True)


def _check_file(path: Path, name: str) -> None:
    if not path.is_file():
        what = 'is a folder, not a checkpoint file' if path.is_dir() else 'no such checkpoint file'
        raise CheckpointError(f'{name}: {what}.')
    if path.stat().st_size == 0:
        raise CheckpointError(f'{name}: the checkpoint is empty (0 bytes): its writing was cut short.')


def _damaged(file, name: str, error: Exception) -> str:
    reason = f'{type(error).__name__}: {str(error).partition(". ")[0].partition(chr(10))[0]}'
    if file is None:
        return f'{name}: cannot be read as a checkpoint ({reason}).'
    with open(file, 'rb') as stream:
        head = stream.read(4)
    if head == b'PK\x03\x04' or head[:1] == b'\x80':
        size = Path(file).stat().st_size
        return f'{name}: the checkpoint is cut off or damaged ({size} bytes; {reason}). Take another one.'
    return f'{name}: this is not a PyTorch checkpoint.'
