"""Loops in Python that run at the speed of compiled code: Numba compiles them when they are first called.

The machine code is kept on disk where Numba finds a folder it may write to; where there
is none, each process compiles for itself.
"""
import functools
from collections.abc import Callable


def compiled(function: Callable) -> Callable:
    """Compile ``function`` at its first call; neither Numba is imported nor anything written before that."""
    ready: list[Callable] = []

    @functools.wraps(function)
    def call(*args):
        if not ready:
            ready.append(_build(function, cache=True))
        try:
            return ready[0](*args)
        except OSError:  # the cache can no longer be read or written: a full disk, rights that have changed
            ready[0] = _build(function, cache=False)
            return ready[0](*args)
    return call


def _build(function: Callable, cache: bool) -> Callable:
    from numba import njit
    try:
        return njit(cache=cache, nogil=True)(function)
    except RuntimeError:  # no folder for the cache can be written to
        return njit(nogil=True)(function)
