"""List recipes and plugins, what they are, and what they have reached."""
import ast
import csv
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cxrdet.core.errors import ConfigError
from cxrdet.core.terminal import say

KINDS = {'recipes': 'Recipes (cxrdet train NAME):', 'mods': 'Mods (behind a recipe, cxrdet train NAME+MOD):',
         'ablations': 'Variants of the recipes:', 'plugins': 'Plugins (type=NAME in a config):'}


def add_arguments(parser) -> None:
    parser.add_argument('what', nargs='?', choices=[*KINDS, 'all'],
                        help='default: recipes to start from, and mods; with --find everything')
    parser.add_argument('--find', nargs='+', default=[], metavar='WORD',
                        help='only those whose name or text contains all of these words, e.g. --find densenet chest')


def run(args) -> None:
    from cxrdet.core.recipes import configs_folder, mods, recipes
    folder, files = configs_folder(), recipes()
    reached = _reached(folder / 'results.csv')
    flat = {name: path for name, path in files.items() if path.parent == folder}
    chosen = [args.what] if args.what in KINDS else KINDS if args.what or args.find else ('recipes', 'mods')
    entries = {
        'recipes': partial(recipe_entries, flat, reached), 'mods': partial(recipe_entries, mods(), {}),
        'ablations': partial(recipe_entries, {k: v for k, v in files.items() if k not in flat}, reached),
        'plugins': lambda: plugin_entries(_metafile(folder / 'metafile.yml'), reached)}
    for kind in chosen:
        if lines := list(_found(entries[kind](), args.find)):
            say('\n'.join([KINDS[kind], *lines, '']))
    if not args.what and not args.find:
        say(f'{len(files) - len(flat)} more variants: cxrdet list ablations. Parts of configs: cxrdet list plugins.')


def recipe_entries(files: dict[str, Path], reached: dict[str, list[str]]) -> Iterator[tuple[str, list[str]]]:
    """Name of each recipe, and what is said of it."""
    for name, path in files.items():
        yield name, [_headline(path), *reached.get(name, [])]


def plugin_entries(meta: dict, reached: dict[str, list[str]]) -> Iterator[tuple[str, list[str]]]:
    """Name of each registered plugin; its kind, what it does, and a recipe that shows it."""
    from mmengine.registry import Registry

    import cxrdet.registry as registries
    told = {plugin['name']: plugin for plugin in meta.get('plugins', [])}
    for registry in vars(registries).values():
        if not isinstance(registry, Registry):
            continue
        registry.import_from_location()
        for name, plugin in sorted(registry.module_dict.items()):
            entry = told.get(f'cxrdet.{name}', {})
            what = entry.get('what') or (plugin.__doc__ or '').partition('\n')[0]
            recipe = Path(entry.get('config', '')).stem
            shown = [f'see {recipe}', *reached.get(recipe, [])] if entry else []
            yield f'cxrdet.{name}', [f'{entry.get("kind") or registry.name}: {what}', *shown]


def _metafile(path: Path) -> dict:
    """What ``metafile.yml`` beside the recipes says; {} without it."""
    import yaml
    try:
        return yaml.safe_load(path.read_text(encoding='utf-8')) if path.is_file() else {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f'{path}: cannot be read: {" ".join(str(error).split())}') from error


def _reached(path: Path) -> dict[str, list[str]]:
    """What each recipe reached, a line for each set of data and row of a table; {} without the file."""
    lines: dict[tuple[str, str, str], list[str]] = {}
    with open(path, encoding='utf-8', newline='') if path.is_file() else io.StringIO() as file:
        for row in csv.DictReader(file):
            spread = f' ± {float(row["deviation"]):.3f} ({row["runs"]} runs)' if row['deviation'] else ''
            lines.setdefault((row['recipe'], row['data'], row['what']), []).append(
                f'{row["metric"]} {float(row["mean"]):.3f}{spread}')
    reached: dict[str, list[str]] = {}
    for (recipe, data, what), figures in lines.items():
        reached.setdefault(recipe, []).append(f'{", ".join(figures)} on {data}{what and f" ({what})"}')
    return reached


def _headline(path: Path) -> str:
    """The first paragraph of the docstring of a config."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
    return ' '.join(text.partition('\nRun:')[0].partition('\n\n')[0].split())


def _found(entries: Iterator[tuple[str, list[str]]], words: list[str]) -> Iterator[str]:
    for name, texts in entries:
        whole = ' '.join([name, *texts]).casefold()
        if all(word.casefold() in whole for word in words):
            yield f'  {name}'
            yield from (f'      {text}' for text in texts if text)
