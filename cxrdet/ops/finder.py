"""How ``mmcv._ext`` is found: Python's own way first, the bridge last. Nothing heavy is imported here."""
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


class CompiledFinder(MetaPathFinder):
    """The first entry of ``sys.meta_path``: lets a compiled ``mmcv._ext`` through, and explains it when it cannot load.

    An extension that was built for another torch ends in ``undefined symbol: _ZN…``. It still wins over the bridge
    (what a user has compiled is never replaced silently); only its ImportError is given a readable cause.
    """

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        if fullname != EXTENSION:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _ExplainingLoader(spec.loader)
        return spec


class _ExplainingLoader(Loader):

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        with _explained(spec):
            return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with _explained(module.__spec__):
            self.loader.exec_module(module)


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
    if not any(isinstance(finder, CompiledFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, CompiledFinder())
    if not any(isinstance(finder, BridgeFinder) for finder in sys.meta_path):
        sys.meta_path.append(BridgeFinder())
