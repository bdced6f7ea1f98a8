"""How modules are found that need a hand: ``mmcv._ext``, Python's own way first, the bridge last; others by wrapping.

Nothing heavy is imported here.
"""
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

EXTENSION = 'mmcv._ext'


class BridgeFinder(MetaPathFinder, Loader):
    """The last entry of ``sys.meta_path``: answers for ``mmcv._ext`` when no other finder has found a compiled one."""

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        if fullname != EXTENSION:
            return None
        return ModuleSpec(fullname, self, origin='cxrdet.ops')

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        importlib.import_module('cxrdet.ops.extension').fill(module)


class WrappedLoader(Loader):
    """Loads a module as the loader that Python found for it does; subclasses add to that."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)


class WrappingFinder(MetaPathFinder):
    """An entry of ``sys.meta_path`` that lets Python find one module, ``name``, and has it loaded by ``wrapper``."""
    name: str
    wrapper: type[WrappedLoader]

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = self.wrapper(spec.loader)
        return spec

    @classmethod
    def put_first(cls) -> None:
        """Make it the first entry, unless there is one of its kind."""
        if not any(isinstance(finder, cls) for finder in sys.meta_path):
            sys.meta_path.insert(0, cls())


class _ExplainingLoader(WrappedLoader):

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        with _explained(spec):
            return super().create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with _explained(module.__spec__):
            super().exec_module(module)


class CompiledFinder(WrappingFinder):
    """The first entry of ``sys.meta_path``: lets a compiled ``mmcv._ext`` through, and explains it when it cannot load.

    An extension that was built for another torch ends in ``undefined symbol: _ZN…``. It still wins over the bridge
    (what a user has compiled is never replaced silently); only its ImportError is given a readable cause.
    """
    name = EXTENSION
    wrapper = _ExplainingLoader


@contextmanager
def _explained(spec: ModuleSpec) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f'the compiled operators of mmcv, {spec.origin}, cannot be loaded: {error}\n'
            'They were most probably built for another version of torch. Build mmcv again for this torch, or remove '
            'that file: cxrdet then serves the operators from torchvision.', name=spec.name,
            path=spec.origin) from error


def install() -> None:
    """Let ``import mmcv._ext`` succeed where mmcv has no compiled operators. Idempotent; imports nothing.

    A compiled extension wins by construction: the bridge stands at the end of ``sys.meta_path`` and is asked only when
    every other finder has found nothing. An ``mmcv._ext`` that is imported already stays as it is.
    """
    CompiledFinder.put_first()
    if not any(isinstance(finder, BridgeFinder) for finder in sys.meta_path):
        sys.meta_path.append(BridgeFinder())
