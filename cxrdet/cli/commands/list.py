"""List recipes and plugins, what they are, and what they have reached."""
import ast
from collections.abc import Iterator
from pathlib import Path

from cxrdet.core.errors import ConfigError
from cxrdet.core.terminal import say


def add_arguments(parser) -> None:
    parser.add_argument('what', nargs='?', choices=['recipes', 'plugins', 'all'], default='all',
                        help='default: both')
    parser.add_argument('--find', nargs='+', default=[], metavar='WORD',
                        help='those only whose name or text has all of these words in it, e.g. --find densenet chest')


def run(args) -> None:
    from cxrdet.core.recipes import recipes
    files = recipes()
    meta = _metafile(files)
    lines = []
    if args.what != 'plugins':
        lines += ['Recipes (cxrdet train NAME):', *_found(recipe_entries(files, meta), args.find), '']
    if args.what != 'recipes':
        lines += ['Plugins (type=NAME in a config):', *_found(plugin_entries(meta), args.find), '']
    say('\n'.join(lines).rstrip())


def recipe_entries(files: dict[str, Path], meta: dict) -> Iterator[tuple[str, list[str]]]:
    """Name of each recipe, and what is said of it."""
    results = {model['name']: model.get('results', []) for model in meta.get('models', [])}
    for name, path in files.items():
        yield name, [_headline(path), *map(_told, results.get(name, []))]


def plugin_entries(meta: dict) -> Iterator[tuple[str, list[str]]]:
    """Name of each registered plugin; its kind, what it does, and a recipe that shows it."""
    from mmengine.registry import Registry

    import cxrdet.registry as registries
    told = {plugin['name']: plugin for plugin in meta.get('plugins', [])}
    results = {model['config']: model.get('results', []) for model in meta.get('models', [])}
    for registry in vars(registries).values():
        if not isinstance(registry, Registry):
            continue
        registry.import_from_location()
        for name, plugin in sorted(registry.module_dict.items()):
            entry = told.get(f'cxrdet.{name}', {})
            what = entry.get('what') or (plugin.__doc__ or '').partition('\n')[0]
            shown = [f'see {Path(entry["config"]).stem}', *map(_told, results.get(entry['config'], []))] * bool(entry)
            yield f'cxrdet.{name}', [f'{entry.get("kind") or registry.name}: {what}', *shown]


def _metafile(files: dict[str, Path]) -> dict:
    """What ``metafile.yml`` beside the recipes says; {} without it."""
    import yaml
    path = next((path.parent / 'metafile.yml' for path in files.values()), None)
    if path is None or not path.is_file():
        return {}
    try:
        return yaml.safe_load(path.read_text(encoding='utf-8')) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f'{path}: cannot be read: {" ".join(str(error).split())}') from error


def _headline(path: Path) -> str:
    """The first sentence of the docstring of a config."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
    return ' '.join(text.partition('\nRun:')[0].split())


def _told(result: dict) -> str:
    numbers = ', '.join(f'{name} {value:.3f}' if isinstance(value, float) else f'{name} {value}'
                        for name, value in result['metrics'].items())
    return f'reached {numbers} on {result["data"]} ({result["split"]})'


def _found(entries: Iterator[tuple[str, list[str]]], words: list[str]) -> Iterator[str]:
    for name, texts in entries:
        whole = ' '.join([name, *texts]).casefold()
        if all(word.casefold() in whole for word in words):
            yield f'  {name}'
            yield from (f'      {text}' for text in texts if text)
