"""What a script calls: load a config, train, test, predict, compare, diagnose, report; imported when asked for."""
import sys
from importlib import import_module
from types import ModuleType

_HOME = {'compare': 'analysis.compare', 'diagnose': 'analysis.diagnose', 'load_config': 'preflight.config',
         'predict': 'inference.predict', 'report': 'analysis.report', 'test': 'apis.test', 'train': 'apis.train'}
__all__ = ['compare', 'diagnose', 'load_config', 'predict', 'report', 'test', 'train']


class _Front(ModuleType):
    """Most functions bear the name of their module, which the import system would put in their place here."""

    def __getattr__(self, name: str):
        if name not in _HOME:
            raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
        return getattr(import_module(f'cxrdet.{_HOME[name]}'), name)

    def __setattr__(self, name: str, value) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Front
