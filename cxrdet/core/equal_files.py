"""Files of equal content in two lists or in one, found without reading most of them."""
import os
from collections.abc import Callable, Hashable, Iterable

from cxrdet.core.files import sha256_of

_SAMPLE = 4096  # bytes from the middle


def equal_files(one: Iterable[str | os.PathLike], other: Iterable[str | os.PathLike]) -> list[tuple[str, str]]:
    """Pairs (path of ``one``, path of ``other``) of files that hold the same bytes, at most one for each of ``other``.

    Of files that have the same size some bytes of the middle are compared, and only
    where these are equal all of them. Empty files, and such as cannot be read, are
    equal to none; links are followed.
    """
    ones, others = (list(dict.fromkeys(os.fspath(path) for path in paths)) for paths in (one, other))
    pairs = _matched(ones, others, _identity)
    left = [ones, [path for path in others if path not in pairs]]
    for key in (_size, _sample):
        groups = [_grouped(paths, key) for paths in left]
        left = [[path for value, paths in mine.items() if value in theirs for path in paths]
                for mine, theirs in (groups, groups[::-1])]
    pairs |= _matched(left[0], left[1], sha256_of)
    return [(pairs[path], path) for path in others if path in pairs]


def equal_groups(paths: Iterable[str | os.PathLike]) -> list[list[str]]:
    """The files of one list that hold the same bytes as another of it, group by group; otherwise as
    :func:`equal_files`."""
    groups = [list(dict.fromkeys(os.fspath(path) for path in paths))]
    for key in (_size, _sample, sha256_of):
        groups = [same for group in groups for same in _grouped(group, key).values() if len(same) > 1]
    return groups


def _matched(ones: list[str], others: list[str], key: Callable) -> dict[str, str]:
    """Path of ``others`` -> the first of ``ones`` with the same key."""
    known = {value: paths[0] for value, paths in _grouped(ones, key).items()}
    return {path: known[value] for value, paths in _grouped(others, key).items() if value in known for path in paths}


def _grouped(paths: Iterable[str], key: Callable[[str], Hashable | None]) -> dict[Hashable, list[str]]:
    groups: dict[Hashable, list[str]] = {}
    for path in paths:
        try:
            value = key(path)
        except (OSError, ValueError):  # ValueError: a zero byte in the path
            continue
        if value is not None:
            groups.setdefault(value, []).append(path)
    return groups


def _identity(path: str) -> Hashable | None:
    status = os.stat(path)
    return (status.st_dev, status.st_ino) if status.st_size else None


def _size(path: str) -> Hashable | None:
    return os.stat(path).st_size or None


def _sample(path: str) -> Hashable:
    size = os.stat(path).st_size
    with open(path, 'rb') as stream:
        stream.seek(max(0, (size - _SAMPLE) // 2))
        return size, stream.read(_SAMPLE)
