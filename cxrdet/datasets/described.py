"""Data sets that can be asked what they hold before they are built."""
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_handed: dict[Hashable, dict[str, Any]] = {}


def of_indices(rows: Sequence, indices: int | Sequence[int] | None) -> Sequence:
    """The rows that ``indices`` of a data set of MMEngine leave: the first, or the last if negative, or some."""
    if indices is None:
        return rows
    if isinstance(indices, int):
        return rows[:indices] if indices >= 0 else rows[indices:]
    return [rows[index] for index in indices]


class Described:
    """A part of the readers: class methods that answer for the set that a dataset config describes.

    They take a config (``type`` and ``pipeline`` are not looked at) or what
    :meth:`described` gives, and raise DataError or ConfigError where the set cannot be read as the config says.
    """

    _known: dict[str, Any] | None = None

    @classmethod
    def described(cls, cfg: 'Mapping | Described') -> 'Described':
        """The set that a dataset config describes, without its pipeline and with nothing read yet; it reads its files
        once, however often it is asked. Such a set itself is given back."""
        if isinstance(cfg, cls):
            return cfg
        left_out = ('type', 'pipeline', 'lazy_init', '_scope_')
        dataset = cls(**{key: value for key, value in cfg.items() if key not in left_out}, pipeline=[], lazy_init=True)
        dataset._known = {}
        return dataset

    @classmethod
    def read_classes(cls, cfg: Mapping) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(cls.described(cfg)._class_names())

    @classmethod
    def image_files(cls, cfg: Mapping) -> list[Path]:
        """Paths of all images."""
        return list(map(Path, cls.described(cfg)._image_paths()))

    def _class_names(self) -> tuple[str, ...]:
        return self.metainfo['classes']

    def _image_paths(self) -> list[str]:
        raise NotImplementedError

    def _identity(self) -> Hashable | None:
        """What decides on the content that is read; None: it is not handed over."""
        return None

    def _once(self, name: str, read: Callable[[], Any]) -> Any:
        """What ``read()`` gives; kept by its name in a described set, not in one that is built to be used: that takes
        what is handed over to it, and leaves nothing behind."""
        if self._known is None:
            handed = _handed.get(self._identity(), {}) if _handed else {}
            return handed.pop(name) if name in handed else read()
        if name not in self._known:
            self._known[name] = read()
        return self._known[name]


@contextmanager
def handed_over(sets: Iterable[object]) -> Iterator[None]:
    """Let data sets that are built in here take what described sets of the same files have read.

    Args:
        sets: As :meth:`Described.described` gives them; others are left alone.
    """
    _handed.update((known._identity(), known._known) for known in sets
                   if isinstance(known, Described) and known._known and known._identity() is not None)
    del sets  # what nobody takes is not kept
    try:
        yield
    finally:
        _handed.clear()
