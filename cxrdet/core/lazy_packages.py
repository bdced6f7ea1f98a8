"""Packages whose ``__init__`` imports what it names only when it is asked for, and where registered classes stand.

MMEngine, MMDetection and MMPretrain import all their models, data sets and hooks, and with them scikit-learn, numba,
imgaug, matplotlib and more, before the first name is looked up: three of the five seconds before a training begins.
Here ``from .resnet import ResNet`` in an ``__init__`` makes ``ResNet`` a name that is imported when it is used (PEP
562), and :func:`registered_names` reads from the sources, without importing them, which file registers what.

Own work. Nothing of these packages is imported here.
"""
import ast
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import NamedTuple

_REGISTERS = b'register_module('
_DECORATED = re.compile(rb'[ \t]*@\w+\.register_module\(([^)]*)\)\s*\n(?:\s*@.*\n)*\s*(?:class|def) (\w+)')
_CALLED = re.compile(rb'\w+\.register_module\(([^)]*)\)()')
_NAMED = re.compile(rb'''(?:^|\bname=)\s*['"]([^'"]+)['"]''')
_VARIABLE = re.compile(rb'(\w+)\._?register_module\($')
_LAZY = '__import_later__'


class LazyPackages(MetaPathFinder):
    """An entry of ``sys.meta_path`` for some packages and those below them; what is imported by then stays as it is."""

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = tuple(packages)

    def find_spec(self, fullname: str, path=None, target=None) -> ModuleSpec | None:
        """The spec of a package of the list, with a loader that puts its imports off; None for all else."""
        if not any(fullname == name or fullname.startswith(f'{name}.') for name in self.packages):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or not spec.submodule_search_locations or not isinstance(spec.loader, SourceFileLoader):
            return None
        spec.loader = _LazyLoader(spec.loader.name, spec.loader.path)
        return spec


class _LazyLoader(SourceFileLoader):

    def get_code(self, fullname: str):
        """The code of the ``__init__``, in which imports from below it only note the names."""
        path = self.get_filename(fullname)
        return compile(_put_off(ast.parse(self.get_data(path)), fullname), path, 'exec', dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        names: dict[str, tuple[str, str]] = {}
        stars: list[str] = []

        def later(source: str, imported: Sequence[tuple[str, str]]) -> None:
            for name, known_as in imported:
                if name == '*':
                    stars.append(source)
                elif source:
                    names[known_as] = source, name

        def find(name: str):
            if name == '__all__':
                return [*(known for known in vars(module) if known[0] != '_'), *_public(module, names, stars)]
            if name in names:
                source, original = names[name]
                value = getattr(importlib.import_module(source), original)
            else:
                value = _below(module, name, stars)
            setattr(module, name, value)
            return value

        setattr(module, _LAZY, later)
        vars(module)['__put_off__'] = names, stars
        super().exec_module(module)
        given = vars(module).get('__getattr__')
        if given is None:
            module.__getattr__ = find
            module.__dir__ = lambda: sorted({*vars(module), *_public(module, names, stars)})
        else:  # it has its own: nothing is put off
            for name in _public(module, names, stars):
                find(name)


def _put_off(tree: ast.Module, package: str) -> ast.Module:
    """Turn ``from .a import b`` at the top, or in an ``if`` there, into a note, where the ``__init__`` does not use
    ``b`` itself and no module has that name, which would come to stand in its place."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}

    def turned(body: list[ast.stmt]) -> Iterator[ast.stmt]:
        for node in body:
            if isinstance(node, ast.If):
                node.body, node.orelse = list(turned(node.body)), list(turned(node.orelse))
            if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module and not used.union(
                    [node.module]) & {alias.asname or alias.name for alias in node.names}:
                note = f'{_LAZY}({package + "." + node.module!r}, ' \
                       f'{[(alias.name, alias.asname or alias.name) for alias in node.names]!r})'
                yield ast.copy_location(ast.parse(note).body[0], node)
            else:
                yield node
    tree.body = list(turned(tree.body))
    return ast.fix_missing_locations(tree)


def _public(module: ModuleType, names: dict, stars: list[str]) -> list[str]:
    found = [name for name in names if name[0] != '_']
    for source in stars:
        other = importlib.import_module(source)
        found += getattr(other, '__all__', None) or [name for name in vars(other) if name[0] != '_']
    return list(dict.fromkeys(found))


def _below(module: ModuleType, name: str, stars: list[str]):
    """What ``from .a import *`` brings, or the module of that name below a package, imported by now or not."""
    if not name.startswith('__'):
        for source in stars:
            other = importlib.import_module(source)
            if name in getattr(other, '__all__', ()) or ('__all__' not in vars(other) and name in vars(other)):
                return getattr(other, name)
        full = f'{module.__name__}.{name}'
        if PathFinder.find_spec(full, module.__path__) is not None:
            return importlib.import_module(full)
    raise AttributeError(f'module {module.__name__!r} has no attribute {name!r}')


class LateImports(MetaPathFinder):
    """An entry of ``sys.meta_path`` that imports what single modules need for a few of their classes when these use it.

    Args:
        users: module -> the packages that it imports at its top, of which it only calls what it takes from them.
    """

    def __init__(self, users: Mapping[str, Sequence[str]]) -> None:
        self.users = dict(users)

    def find_spec(self, fullname: str, path=None, target=None) -> ModuleSpec | None:
        """The spec of one of these modules."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname in self.users else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _LateLoader(spec.loader.name, spec.loader.path)
            spec.loader.packages = self.users[fullname]
        return spec


class _LateLoader(SourceFileLoader):
    packages: Sequence[str] = ()

    def exec_module(self, module: ModuleType) -> None:
        late = {name: _LatePackage(name) for name in self.packages
                if name not in sys.modules and importlib.util.find_spec(name.partition('.')[0]) is not None}
        for name, package in late.items():
            parent, _, own = name.rpartition('.')
            if parent in late:
                late[parent].__dict__[own] = package
        sys.modules.update(late)
        try:
            super().exec_module(module)
        finally:
            for name, package in late.items():
                if sys.modules.get(name) is package:
                    del sys.modules[name]
                parent, _, own = name.rpartition('.')
                if parent in sys.modules and vars(sys.modules[parent]).get(own) is package:
                    delattr(sys.modules[parent], own)
                package.__dict__['_ready'] = True


class _LatePackage(ModuleType):
    """Stands for a package while a module is imported: gives functions that import it; afterwards, what it holds."""
    _ready = False

    def __getattr__(self, name: str):
        if self._ready:
            return getattr(importlib.import_module(self.__name__), name)
        if name.startswith('__'):
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r} yet')

        def call(*args, **kwargs):
            return getattr(importlib.import_module(self.__name__), name)(*args, **kwargs)
        call.__name__ = name
        return call


def import_put_off(package: str) -> None:
    """Import a package and, now, all that its ``__init__`` and those below have put off.

    Parts that lack another package are left out.
    """
    names, stars = vars(importlib.import_module(package)).get('__put_off__', ({}, ()))
    for source in dict.fromkeys([*stars, *(source for source, _ in names.values())]):
        with suppress(ImportError):
            import_put_off(source)


class Registered(NamedTuple):
    """Which modules below a package register what, in any registry.

    Attributes:
        by_name: name -> modules that register something under it.
        otherwise: name of the registry's variable -> modules that register under names that only they know.
    """
    by_name: dict[str, list[str]]
    otherwise: dict[str, list[str]]


@lru_cache(maxsize=64)
def registered_names(package: str) -> Registered:
    """Read the sources of a package or a module, without importing it; empty if there is none."""
    found = Registered({}, {})
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path, folders, files in os.walk(folder):
            folders.sort()
            inner = [package, *os.path.relpath(path, folder).split(os.sep)]
            for file in sorted(files):
                if file.endswith('.py'):
                    parts = [part for part in (*inner, file[:-3]) if part not in ('.', '__init__')]
                    _note(found, '.'.join(parts), os.path.join(path, file))
    if spec and not spec.submodule_search_locations and spec.origin:
        _note(found, package, spec.origin)
    return found


def _note(found: Registered, module: str, file: str) -> None:
    with open(file, 'rb') as stream:
        text = stream.read()
    place = text.find(_REGISTERS)
    while place >= 0:
        line = text.rfind(b'\n', 0, place) + 1
        match = _DECORATED.match(text, line) or _CALLED.match(text, line)
        given = _NAMED.findall(match[1]) if match else []
        unnamed = match is not None and not re.search(rb'name|\[', match[1])
        name = given[0] if given else match[2] if match is not None and unnamed else b''
        variable = _VARIABLE.search(text[line:place + len(_REGISTERS)])
        place = text.find(_REGISTERS, place + 1)
        if name:
            modules = found.by_name.setdefault(name.decode(), [])
        elif variable:
            modules = found.otherwise.setdefault(variable[1].decode(), [])
        else:
            continue
        modules += [] if module in modules else [module]
