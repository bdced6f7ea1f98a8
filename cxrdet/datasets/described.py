"""Data sets that can be asked what they hold before they are built."""
from collections.abc import Callable, Mapping
from typing import Any


class Described:
    """A part of the readers; its class methods ``read_classes(cfg)``, ``image_files(cfg)`` … take :meth:`described`."""

    _known: dict[str, Any] | None = None

    @classmethod
    def described(cls, cfg: 'Mapping | Described') -> 'Described':
        """The set that a dataset config describes, without its pipeline and with nothing read yet.

        Asked several times, it reads its files once. Such a set itself is given back, so that class methods that take a
        config take it, too.
        """
        if isinstance(cfg, cls):
            return cfg
        left_out = ('type', 'pipeline', 'lazy_init', '_scope_')
        dataset = cls(**{key: value for key, value in cfg.items() if key not in left_out}, pipeline=[], lazy_init=True)
        dataset._known = {}
        return dataset

    def _once(self, name: str, read: Callable[[], Any]) -> Any:
        """What ``read()`` gives; kept by its name in a described set, not in one that is built to be used."""
        if self._known is None:
            return read()
        if name not in self._known:
            self._known[name] = read()
        return self._known[name]
