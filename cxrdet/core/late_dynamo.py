"""torch's compiler is imported when something is compiled, not by the first optimizer.

Optimizers of torch ask ``torch._dynamo`` to leave some of their functions alone when a model is compiled
(``torch._dynamo.disable``, ``graph_break``), and import it for that: sympy, triton and 700 modules, a second. Where
nothing is compiled both do nothing; this module stands in for it until somebody asks for anything else.

Own work; torch 2.4 and later.
"""
import importlib
import sys
from collections.abc import Callable
from functools import wraps
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

NAME = 'torch._dynamo'


def install() -> None:
    """Import torch, and let ``import torch._dynamo`` find the stand-in unless the compiler is there. Idempotent."""
    torch = importlib.import_module('torch')
    if NAME in sys.modules:
        return
    sys.modules[NAME] = _LateDynamo(NAME)
    vars(torch)['_dynamo'] = sys.modules[NAME]
    sys.meta_path.insert(0, _PartsOfDynamo())


class _LateDynamo(ModuleType):

    def __getattr__(self, name: str):
        if name.startswith('__') and name != '__path__':  # inspect asks every module for __file__
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r} yet')
        return getattr(_real(), name)

    def graph_break(self, msg: str = '') -> None:
        """Nothing is compiled, so there is nothing to break."""

    def disable(self, fn: Callable | None = None, recursive: bool = True, **options):
        """``fn`` as it is while nothing is compiled, and from then on as the compiler wants it."""
        if fn is None:
            return lambda function: self.disable(function, recursive, **options)
        real: list[Callable] = []

        @wraps(fn)
        def call(*args, **kwargs):
            if isinstance(sys.modules.get(NAME), _LateDynamo):
                return fn(*args, **kwargs)
            if not real:
                real.append(_real().disable(fn, recursive, **options))
            return real[0](*args, **kwargs)
        return call


def _real() -> ModuleType:
    """The compiler itself, imported in place of the stand-in."""
    if isinstance(sys.modules.get(NAME), _LateDynamo):
        del sys.modules[NAME]
    return importlib.import_module(NAME)


class _PartsOfDynamo(MetaPathFinder, Loader):
    """Python asks the stand-in for ``__path__`` to import a part, and would import that part again afterwards."""

    def find_spec(self, fullname: str, path=None, target=None) -> ModuleSpec | None:
        """A spec for a part that has been imported with the whole."""
        if not fullname.startswith(f'{NAME}.') or fullname not in sys.modules:
            return None
        return ModuleSpec(fullname, self, is_package=hasattr(sys.modules[fullname], '__path__'))

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The part that is there."""
        self._spec = sys.modules[spec.name].__spec__
        return sys.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """Nothing more to do."""
        module.__spec__ = self._spec
