"""From a config file and a command line to a config that is ready to run; which keys of it are read, and as what."""
import argparse
import copy
import errno
import inspect
import logging
import numbers
import operator
import os
import pkgutil
import re
import tempfile
import traceback
from collections.abc import Mapping
from difflib import SequenceMatcher
from pathlib import Path
from typing import IO
from unittest.mock import patch

import mmengine.config.config
from mmengine.config import Config, DictAction
from mmengine.logging import print_log
from mmengine.utils import import_modules_from_strings

from cxrdet.core.config_tree import DATALOADERS, DATASET_KEYS, datasets_of, walk
from cxrdet.core.errors import ConfigError, did_you_mean
from cxrdet.core.recipes import PREFIX, find_config, make_projects_importable, recipes
from cxrdet.preflight.mods import apply_mods
from cxrdet.preflight.rules import HELPERS, RULES, RUNNER_KEYS, Expected


def load_config(path: str | Path, *, cfg_options: list[str] | None = None, data_root: str | Path | None = None,
                work_dir: str | Path | None = None, train_limit: int | None = None,
                valid_limit: int | None = None) -> Config:
    """Read a config and apply what every tool offers on its command line.

    Args:
        path: A config file or the name of a recipe (:func:`cxrdet.core.recipes.find_config`), and behind it
            changes by name, ``faster_rcnn_bifpn_cell+mosaic+ema`` (:mod:`cxrdet.preflight.mods`).
        cfg_options: ``key=value`` strings, e.g. ``optim_wrapper.optimizer.lr=0.01``, and the config's own shortcuts
            (:func:`expand_shortcuts`). ``data_root=DIR`` is the argument below.
        data_root: Replaces ``data_root`` of every data set.
        work_dir: Where logs and checkpoints go; by default ``work_dirs/<config name>``.
        train_limit: Use N training samples only: the first, or those that the data set chooses for ``indices=N``
            (``CSVImageDataset`` keeps the classes balanced). 1 or more.
        valid_limit: Use N validation and test samples only.

    Raises:
        ConfigError: If the file cannot be read, a section is none, an option is malformed or names what is not there,
            or a root or limit finds no data set.
    """
    recipe, *mods = [str(path)] if Path(path).is_file() else str(path).split('+')
    recipe = find_config(recipe)
    cfg = _read(recipe)
    given = parse_cfg_options(cfg_options) if cfg_options else {}
    if mods:
        early = _of_data(cfg, given)
        merge_options(cfg, early)
        apply_mods(cfg, mods)
        given = {name: value for name, value in given.items() if name not in early}
    for source, options in ((str(path), {}), ('--cfg-options', given)):
        if options:
            merge_options(cfg, options)
            if any(name.partition('.')[0] == 'custom_imports' for name in options):  # the file's were, as it was read
                _import_modules(cfg)
        if problems := shape_problems(cfg):
            raise ConfigError('\n  '.join([f'{source}:', *problems]))
    if data_root is not None:
        set_data_root(cfg, data_root)
    set_limits(cfg, train_limit, valid_limit)
    for loader in (cfg[key] for key in DATALOADERS if cfg.get(key)):
        if loader.get('num_workers') == 0:
            loader['persistent_workers'] = False  # torch refuses to keep workers that there are not
    name = '+'.join(Path(part).stem for part in (recipe, *mods))
    cfg.work_dir = str(work_dir or cfg.get('work_dir') or Path('work_dirs', name))
    return cfg


def _read(path: str | Path) -> Config:
    try:
        with patch.object(mmengine.config.config, 'open', _open_text, create=True):
            _follow_bases(str(path))
            cfg = Config.fromfile(str(path))
        dict(cfg.items())  # imports of a config in the lazy style
        return cfg
    except ConfigError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):  # MMEngine copies what it reads
            error.filename = tempfile.gettempdir()
            raise
        raise _unreadable(path, error) from error
    except (Exception, SystemExit) as error:  # of any kind: a config in Python is a program
        raise _unreadable(path, error) from error


_AWAY = ('. The folder that holds projects/ is none in which Python looks: add it to PYTHONPATH, or take the config '
         'that lies below it')


def _unreadable(path: str | Path, error: BaseException) -> ConfigError:
    said = f'{type(error).__name__}: {" ".join(str(error.__cause__ or error).split())}'
    missing = error
    while isinstance(missing.__context__, ImportError):  # MMEngine's of custom_imports hides it
        missing = missing.__context__
    if missing is not error:
        said += f': {missing}{_AWAY if missing.name == "projects" else ""}'
    where, names, line = str(path), set(), ''
    for frame, number in traceback.walk_tb(error.__traceback__):
        names.add(frame.f_code.co_name)
        where = str(frame.f_locals.get('filename', where)) if '_file2dict' in names else where
        line = f', line {number}' if frame.f_code.co_name == '<module>' else ''
    suffix, lost = Path(where).suffix, isinstance(error, FileNotFoundError)
    if isinstance(error, UnicodeDecodeError):
        said = f'expected text in UTF-8, found the byte 0x{error.object[error.start]:02x} at {error.start}.'
    elif suffix in ('.json', '.yaml', '.yml') and not lost:
        said = f'expected a {suffix[1:].upper()} file of names and values: {said}'
    elif 'Duplicate key' in said:
        doubled = sorted(re.findall(r"'(\w+)'", said.partition('keys:')[2]))
        said = (f'two of its _base_ both give {", ".join(doubled)}. Stand on one of them, and set in this file what '
                'differs from it, such as model = dict(backbone=dict(...)).')
    elif lost or names & {'_get_cfg_path', 'get_cfg_path'}:
        file = Path(getattr(error, 'filename', None) or '')
        said = f'{file}: no such file' if file.name else said
        said += '; expected _base_ to be the path of a config, or a list of them'
        if file.stem in recipes():
            said += f'. That recipe is _base_ = "{PREFIX}{file.name}" in any folder'
    return ConfigError(f'{path}: the config cannot be read: {said} ({where}{line})')


def _import_modules(cfg: Config) -> None:
    """Import ``custom_imports`` that were given as an option."""
    try:
        import_modules_from_strings(**cfg.custom_imports)
    except Exception as error:  # of any kind: a module is a program
        raise ConfigError(f'--cfg-options custom_imports: {type(error).__name__}: {error}') from error


def _open_text(file: str, mode: str = 'r', encoding: str | None = None) -> IO:
    """As ``open``, but a mark of the order of bytes at the beginning is not read, as Python itself does not."""
    return open(file, mode, encoding='utf-8-sig' if mode == 'r' and encoding == 'utf-8' else encoding)


def _follow_bases(path: str, above: tuple[str, ...] = ()) -> None:
    """Make the projects importable whose configs a file stands on.

    Raises:
        ConfigError: If a file is a base of itself; MMEngine would read it some hundred times before it fails.
    """
    path = os.path.normpath(path)
    make_projects_importable(path)
    if path in above:
        raise ConfigError(f'{above[0]}: the config cannot be read: expected each _base_ to be another config, but they '
                          f'go round in a circle: {" -> ".join([*above, path])}')
    for base in Config._get_base_files(path) if os.path.isfile(path) and path.endswith('.py') else ():
        if isinstance(base, str):
            _follow_bases(os.path.join(os.path.dirname(path), base), (*above, path))


def parse_cfg_options(options: list[str]) -> dict:
    """Turn ``['a.b=1', 'c=[x,y]']`` into ``{'a.b': 1, 'c': ['x', 'y']}`` by the rules of MMEngine's ``DictAction``.

    Raises: ConfigError if an option is no ``key=value``, or its value cannot be read.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument('--options', nargs='+', action=DictAction)
    found: dict = {}
    for option in options:
        if '=' not in option:
            raise ConfigError(f'--cfg-options {option}: expected key=value, e.g. optim_wrapper.optimizer.lr=0.01')
        try:
            found |= parser.parse_args(['--options', option]).options
        except (AssertionError, RecursionError) as error:  # brackets that do not match, or text before a bracket
            raise ConfigError(f'--cfg-options {option}: expected a number, a word, or a list or tuple of them, as in '
                              'scale=(384,288), with matching brackets. A dict belongs into a config file.') from error
    return found


def merge_options(cfg: Config, options: dict) -> None:
    """Put options, shortcuts among them, into ``cfg``.

    Raises:
        ConfigError: If a first key is neither in the config, nor a shortcut, nor a key of MMEngine's Runner; if
            a place cannot be set; or if a checkpoint is given for a part that does not
            begin with pretrained weights.
    """
    offered, options = offered_shortcuts(cfg), dict(options)
    known = {*cfg, *offered, *runner_keys()}
    for name, value in options.items():
        key = name.partition('.')[0]
        if key not in known:
            raise ConfigError(f'--cfg-options {name}={value}: nothing reads "{key}", which is neither in the config, '
                              f'nor a shortcut of it ({", ".join(offered) or "it has none"}), nor a key of the Runner.'
                              f'{did_you_mean(key, known)}')
    if 'data_root' in options:
        set_data_root(cfg, options.pop('data_root'))
    places = expand_shortcuts(cfg, options)
    if _refusal(cfg, places) is not None:
        told = ((f'{name}={value}', _refusal(cfg, {name: value})) for name, value in places.items())
        name, said = next((one for one in told if one[1] is not None), (', '.join(options), ''))
        raise ConfigError(f'--cfg-options {name}: the config has no such place, or a value of another kind there'
                          f'{said and ": "}{said}.')
    cfg.merge_from_dict(copy.deepcopy(places))
    for place in places:
        part, found, _ = place.partition('.init_cfg.')
        if found and not _has(cfg, f'{part}.init_cfg.type'):
            raise ConfigError(f'--cfg-options {place}: {part} begins with random weights. To load a file say what kind '
                              f'it is, too: {part}.init_cfg.type=Pretrained {part}.init_cfg.checkpoint=FILE'
                              f'{", or pretrained=FILE" if "pretrained" in offered else ""}')


def _refusal(cfg: Config, places: dict) -> str | None:
    """What MMEngine says of options that cannot be merged; ``None`` if they can."""
    try:
        copy.deepcopy(cfg).merge_from_dict(copy.deepcopy(places))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        return str(error.args[0])[:200] if error.args else ''
    return None


def _of_data(cfg: Config, options: dict) -> dict:
    """The options that are shortcuts to places of data loaders, such as ``img_size``: mods take sizes from them
    and may move them.
    """
    offered = offered_shortcuts(cfg)
    return {name: value for name, value in options.items()
            if any(place.partition('.')[0] in DATALOADERS for place in _places(offered, name))}


def expand_shortcuts(cfg: Config, options: dict) -> dict:
    """Options with every shortcut replaced by the places that it stands for.

    A helper variable of a config (``img_size = 96``) is read when the file is; to change it afterwards changes nothing.
    So a top-level dict ``*_shortcuts`` may name where its value went::

        data_shortcuts = dict(img_size=['train_dataloader.dataset.pipeline.1.scale', ...])

    Then ``img_size=128`` sets all of them, and the variable; ``shares.val=0.1`` a part of a dict. A place that is given
    itself keeps that; of two shortcuts the one with fewer places wins, whatever their order. A file for an ``init_cfg``
    stands for ``dict(type='Pretrained', checkpoint=file)``.

    Raises:
        ConfigError: If a place is not in the config.
    """
    offered, expanded = offered_shortcuts(cfg), {}
    for name, value in sorted(options.items(), key=lambda one: -len(_places(offered, one[0]))):
        (short, dot, rest), places = name.partition('.'), _places(offered, name)
        if short in offered and not places:
            usable = ', '.join(other for other, own in offered.items() if own)
            raise ConfigError(f'--cfg-options {name}={value}: a mod has replaced what "{short}" sets; this config '
                              f'has instead: {usable}.')
        for place in places:
            part, _, key = place.rpartition('.')
            if not _has(cfg, part if key == 'init_cfg' else place):
                raise ConfigError(f'--cfg-options {name}={value}: the config offers it for {place}, which it lacks. '
                                  'Set the places by their full names.')
            expanded[place + dot + rest] = value
            if key == 'init_cfg' and not dot and isinstance(value, str):
                replaced = dict(_delete_=True) if _has(cfg, place) else {}
                expanded[place] = dict(type='Pretrained', checkpoint=value, **replaced)
    return expanded | options


def _places(offered: dict[str, list[str]], name: str) -> list[str]:
    """The places that an option stands for; none if it is no shortcut."""
    return offered.get(name.partition('.')[0], [])


def _has(node: object, place: str) -> bool:
    for key in place.split('.'):
        try:
            node = node[int(key)] if isinstance(node, (list, tuple)) else node[key]
        except (KeyError, IndexError, ValueError, TypeError):
            return False
    return True


def set_data_root(cfg: Config, data_root: str | Path) -> None:
    """Replace ``data_root`` in every data set, and in evaluators' file names that begin with the old one.

    Raises: ConfigError if the config has data loaders, but no data set in them.
    """
    new = str(data_root)
    sets = _sets_of(cfg, DATALOADERS, f'--data-root {new}') if any(map(cfg.get, DATALOADERS)) else []
    old = {cfg.get('data_root')} | {data.get('data_root') for data in sets}
    for data in sets:
        data['data_root'] = new
    for key in ('val_evaluator', 'test_evaluator'):
        for node in walk(cfg.get(key, {})):
            for root in filter(None, old):
                if str(node.get('ann_file', '')).startswith(root):
                    node['ann_file'] = str(Path(new) / node['ann_file'][len(root):].lstrip('/'))
    cfg['data_root'] = new


def set_limits(cfg: Config, train_limit: int | None, valid_limit: int | None) -> None:
    """Keep only so many samples of the training and of the validation and test sets.

    Raises: ConfigError if a limit is below 1, or there is no data set that it could be put on.
    """
    for option, limit, keys in (('--train-limit', train_limit, DATALOADERS[:1]),
                                ('--valid-limit', valid_limit, DATALOADERS[1:])):
        if limit is not None and limit < 1:
            raise ConfigError(f'A limit on the number of samples must be at least 1, got {limit}.')
        for data in [] if limit is None else _sets_of(cfg, keys, f'{option} {limit}'):
            data['indices'] = limit


def _sets_of(cfg: Config, loaders: tuple[str, ...], option: str) -> list[dict]:
    """The data sets of some loaders, to which an option is given; raises ConfigError where there are none."""
    sets = [data for key in loaders for data in datasets_of(cfg.get(key))]
    if not sets:
        raise ConfigError(f'{option}: there is no data set in {", ".join(loaders)} that it could be given to: one is '
                          f'known by its {", ".join(DATASET_KEYS)}. Set it by its full name with --cfg-options.')
    return sets


# --- values and keys


def shape_problems(cfg: Config) -> list[str]:
    """One line for every top-level key that is no dict, list or text where it must be one."""
    wrong = ((key, misfit(value, rule.what)) for key, value in cfg.items() for rule in RULES
             if rule.kind == 'value' and re.fullmatch(rule.where, key))
    return [f'{key}: {text}' for key, text in wrong if text]


def misfit(value: object, expected: Expected) -> str | None:
    """What is wrong with a value: ``'expected an integer of at least 1, got 0.'``, or ``None``."""
    single = expected.kind.removesuffix('s')
    listed = single != expected.kind
    if any(type(value) is type(other) and value == other for other in expected.also):
        return None
    limits = [(word, limit, compare) for word, limit, compare in (
        ('more than', expected.above, operator.gt), ('at least', expected.low, operator.ge),
        ('at most', expected.high, operator.le), ('below', expected.below, operator.lt)) if limit is not None]
    if (isinstance(value, (list, tuple)) or not listed) and all(
            _is(item, single) and all(compare(item, limit) for _, limit, compare in limits)
            for item in (value if listed else [value])):
        return None
    text = f'a list of {expected.kind}' if listed else f'a {single}'.replace('a i', 'an i').replace('a text', 'text')
    text += f' of {" and ".join(f"{word} {limit}" for word, limit, _ in limits)}' if limits else ''
    text = ' or '.join([*([text] if single else []), *map(str, expected.also)])
    return f'expected {text}, got {value!r:.60}.{expected.hint and " "}{expected.hint}'


def _is(value: object, kind: str) -> bool:
    """Whether a value is of a kind of :class:`cxrdet.preflight.rules.Expected`."""
    if kind == 'whole number':
        return _is(value, 'number') and value % 1 == 0  # 24.0 does for MMEngine
    kinds = {'integer': numbers.Integral, 'number': numbers.Real, 'text': (str, Path), 'dict': Mapping,
             'list': (list, tuple), 'dict or list': (Mapping, list, tuple)}
    return isinstance(value, kinds.get(kind, ())) and value == value and not (  # a NaN is not equal to itself
        isinstance(value, bool) and kind in ('integer', 'number'))


def runner_keys() -> set[str]:
    """All top-level keys that something reads."""
    from mmengine.runner import Runner
    return (set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'}) | set(RUNNER_KEYS)


def offered_shortcuts(cfg: Config) -> dict[str, list[str]]:
    """The names that ``cfg`` offers for ``--cfg-options`` in its dicts ``*_shortcuts``, each with its places."""
    return {name: places for key in cfg if key.endswith('_shortcuts') for name, places in cfg[key].items()}


def key_problems(cfg: Config) -> list[str]:
    """One line for every top-level key that nothing reads, and for every unknown key of a section.

    MMEngine's Runner ignores top-level keys that it does not know, so a misspelt one says nothing. A key is taken for a
    helper variable if a line of the config or its bases uses it, or if its value stands elsewhere in the config.
    """
    known = runner_keys() | set(offered_shortcuts(cfg))
    text = re.sub(r'#.*', '', cfg.text or '')
    problems, unused = [], []
    for key, value in cfg.items():
        if key in known or _is_helper(key) or _is_used(key, value, cfg, text):
            continue
        if _has_dicts(value) or any(SequenceMatcher(None, key.lower(), other).ratio() >= 0.8 for other in known):
            problems.append(f'{key}: nothing reads this top-level key.{did_you_mean(key, known)}')
        else:
            unused.append(key)
    if unused:
        print_log(f'config: nothing reads the top-level key(s) {", ".join(unused)}', logger='current',
                  level=logging.WARNING)
    for rule in (rule for rule in RULES if rule.kind == 'keys'):
        mirrored = pkgutil.resolve_name(rule.mirrors)
        names = {*rule.what, *(inspect.signature(mirrored).parameters if inspect.isclass(mirrored) else ())}
        problems += [f'{section}.{key}: unknown key.{did_you_mean(key, names)}' for section, value in cfg.items()
                     if re.search(rule.where, section) and isinstance(value, dict)
                     for key in value if key not in names]
    return problems


def drop_helpers(cfg: Config) -> None:
    """Take out of ``cfg`` the variables of its files, such as a pipeline's beginning, that nothing reads any more: in a
    saved config, which has its parts written out, they could not be told from a mistake."""
    known = runner_keys()
    for key in [key for key, value in cfg.items() if _has_dicts(value) and key not in known and not _is_helper(key)]:
        cfg.pop(key)


def _is_helper(key: str) -> bool:
    return key in HELPERS or key.endswith('_shortcuts')


def _is_used(key: str, value: object, cfg: Config, text: str) -> bool:
    """Whether a line of the config files uses the variable, or its value stands elsewhere in the config."""
    if re.search(rf'(?<![\w\'"]){re.escape(key)}\b(?!\s*=[^=])', text):
        return True
    return _has_dicts(value) and any(_holds(other, value) for name, other in cfg.items() if name != key)


def _holds(node: object, value: object) -> bool:
    inner = list(node.values()) if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ()
    return node == value or any(_holds(item, value) for item in inner)


def _has_dicts(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, (list, tuple)) and any(isinstance(v, dict) for v in value))
