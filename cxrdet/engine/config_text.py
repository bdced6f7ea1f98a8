"""The text of a config, read without executing it, and what differs between two configs."""
import ast
from collections.abc import Iterator

__all__ = ['changed_settings', 'read_config_text']

NOT_SET = '(not set)'


def read_config_text(text: str) -> dict:
    """The settings in the text that MMEngine writes of a config: ``name = value`` lines of literals and ``dict(...)``.

    Nothing is executed. What is neither a literal nor ``dict(...)`` stands in the result as its source text.

    Raises:
        ValueError: the text is no Python.
    """
    try:
        lines = ast.parse(text).body
        return {line.targets[0].id: _value(line.value) for line in lines
                if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)}
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f'not the text of a config ({type(error).__name__})') from None


def _value(node: ast.expr) -> object:
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {str(_value(key)): _value(value) for key, value in zip(node.keys, node.values, strict=True)}
    if isinstance(node, ast.Call) and getattr(node.func, 'id', None) == 'dict' and all(w.arg for w in node.keywords):
        if not node.args:
            return {word.arg: _value(word.value) for word in node.keywords}
        if len(node.args) == 1 and isinstance(node.args[0], ast.Dict) and not node.keywords:
            return _value(node.args[0])  # dict({'0': 1}): where a key is no identifier
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return ast.unparse(node)


def changed_settings(old: dict, new: dict, under: tuple[str, ...]) -> list[tuple[str, object, object]]:
    """Settings that differ, as (dotted name, old value, new value); ``NOT_SET`` where one of the two has none.

    Args:
        old, new: as :func:`read_config_text` gives them.
        under: dotted names; they and what lies below them is compared.
    """
    before, after = dict(_flat(old)), dict(_flat(new))
    names = [*before, *(name for name in after if name not in before)]
    return [(name, before.get(name, NOT_SET), after.get(name, NOT_SET)) for name in names
            if before.get(name) != after.get(name) and f'{name}.'.startswith(tuple(f'{place}.' for place in under))]


def _flat(node: object, name: str = '') -> Iterator[tuple[str, object]]:
    """(dotted name, value) of everything but dicts and lists of dicts, whose parts go by key and number."""
    if isinstance(node, list) and any(isinstance(item, dict) for item in node):
        node = dict(enumerate(node))
    if not isinstance(node, dict):
        yield name, node
        return
    for key, value in node.items():
        yield from _flat(value, f'{name}.{key}' if name else str(key))
