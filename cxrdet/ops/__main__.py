"""``python -m cxrdet.ops``: which operator that mmcv asks for is served by what."""
import ast
import functools
import importlib
import importlib.util
import sys
from pathlib import Path

from cxrdet.ops.finder import EXTENSION, BridgeFinder

COMPILED = 'compiled mmcv'
MISSING = 'not available'


@functools.cache
def requested_operators() -> tuple[str, ...]:
    """Names that the sources of the installed mmcv look up in ``mmcv._ext`` (its calls of ``load_ext``), sorted.

    Raises: ImportError if mmcv is not installed.
    """
    spec = importlib.util.find_spec('mmcv')
    if spec is None or spec.origin is None:
        raise ImportError('mmcv is not installed: pip install onedl-mmcv')
    names: set[str] = set()
    for path in sorted((Path(spec.origin).parent / 'ops').glob('*.py')):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'), filename=str(path))):
            if isinstance(node, ast.Call) and getattr(node.func, 'attr', None) == 'load_ext':
                names.update(ast.literal_eval(node.args[1]))
    return tuple(sorted(names))


def origins() -> dict[str, str]:
    """Operator -> 'compiled mmcv', 'torchvision kernel', 'PyTorch', 'Python' or 'not available'.

    Raises: ImportError if mmcv is not installed, or has compiled operators that cannot be loaded.
    """
    extension = importlib.import_module(EXTENSION)
    names = requested_operators()
    if not isinstance(extension.__spec__.loader, BridgeFinder):
        return {name: COMPILED if hasattr(extension, name) else MISSING for name in names}
    operators = importlib.import_module('cxrdet.ops.extension').OPERATORS
    return {name: operators[name].source if name in operators else MISSING for name in names}


def table() -> str:
    """The origins as text: the operators that work, then those that do not, and how to get them."""
    found = origins()
    width = max(map(len, found))
    order = sorted(found, key=lambda name: (found[name] == MISSING, name))
    lines = [f'{name:<{width}}  {found[name]}' for name in order]
    missing = sum(source == MISSING for source in found.values())
    lines.append(f'\n{len(found) - missing} of {len(found)} operators available.')
    if missing:
        lines.append(importlib.import_module('cxrdet.ops.extension').how_to_compile())
    return '\n'.join(lines)


if __name__ == '__main__':
    sys.stdout.write(table() + '\n')
