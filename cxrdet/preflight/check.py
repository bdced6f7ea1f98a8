"""Read a config once, and find what a run would stumble over, before anything is built.

MMEngine looks a name up when the part is built, one at a time, deep in a run. :func:`examine` reads the whole tree
beforehand by the same rules of scope, every rule is a function of what it found, and what mirrors MMEngine stands as
data in :mod:`cxrdet.preflight.rules`. Only transforms and optimizers are built.
"""
import ast
import copy
import functools
import inspect
import linecache
import pkgutil
import re
import textwrap
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS, OPTIMIZERS, TRANSFORMS, DefaultScope, Registry
from mmengine.runner import BaseLoop, Runner

from cxrdet.compat import import_all
from cxrdet.core.config_tree import COUNT_KEYS, DATALOADERS, OTHER_COUNTS, walk
from cxrdet.core.errors import ConfigError, CxrdetError, did_you_mean, error_text
from cxrdet.preflight.config import key_problems, misfit, shape_problems
from cxrdet.preflight.rules import GREY, PIXELS, RULES, SCOPES, SURE

_TOP = {rule.where[1:-1]: rule.what for rule in RULES if rule.kind == 'registry' and rule.where[1:-1].isidentifier()}
_INNER, _TAKEN_OFF, _VALUES = ([(re.compile(rule.where), rule.what) for rule in RULES if rule.kind == kind]
                               for kind in ('registry', 'takes off', 'value'))
_DEFAULTS = {rule.where[1:-1]: rule.what for rule in RULES if rule.kind == 'default type'}
_ANY_VALUE = re.compile('|'.join(pattern.pattern for pattern, _ in _VALUES))
_BUILT_BY = {rule.mirrors.rpartition('.')[2]: rule.where[1:-1] for rule in RULES[::-1]  # methods of the Runner
             if rule.kind in ('registry', 'keys') and '.Runner.' in rule.mirrors and rule.where[1:-1].isidentifier()}
_NOT_BUILT = 'cannot be built from its arguments here'
_OF_THE_MACHINE = re.compile(r'out of memory|CUDA|NCCL|Gloo|DataLoader worker \(|No space left', re.I)
_PACKAGE = re.compile(r'[/\\](cxrdet|mmengine|mmcv|mmdet|mmpretrain)[/\\]((?:\w+[/\\])*\w+\.py)$')
_PLUGIN = re.compile(r'(datasets|models|evaluation|visualization|engine[/\\](hooks|optimizers))[/\\]')
_COMPLETE = ('dataset', 'transform', 'metric', 'hook', 'loop')  # registries that build from the config alone
_COMPLETE_KEYS = re.compile(r'^(model|backbone|neck|\w*head)$')  # parts of a model that do as well
_GIVEN = {'num_classes', 'train_cfg', 'test_cfg', 'runner', 'dataloader', 'evaluator'}
_LISTS_OF_PARTS = re.compile(r'^custom_hooks$|^param_scheduler$|(^|\.)pipeline$|_evaluator$|^vis_backends$')
_ALWAYS = {'type', '_scope_', '_delete_'}
_SIZES = ('scale', 'img_scale', 'img_size', 'size', 'crop_size')


# --- the walk


@dataclass(frozen=True)
class Part:
    """A dict of the config that names a type.

    Attributes:
        path: Dotted, as ``--cfg-options`` takes it: ``model.roi_head.bbox_head.0``.
        place: The path without indices of lists.
        cfg: The dict itself.
        scope: In which unprefixed names are looked up.
        places: The registries of the place, or a module whose attributes are the names.
        found: The class or function; ``None`` if it is unknown or cannot be judged.
        unknown: Whether the name must be found here and is not.
    """
    path: str
    place: str
    cfg: dict
    scope: str
    places: tuple
    found: object
    unknown: bool

    @property
    def key(self) -> str:
        """Its last name, without list indices: ``bbox_head``."""
        return self.place.rpartition('.')[2]

    @property
    def top(self) -> str:
        return self.place.partition('.')[0]

    @property
    def name(self) -> str:
        """How the config spells the type; the class's own name where the config gives the class or nothing."""
        kind = self.cfg.get('type')
        return kind if isinstance(kind, str) else getattr(self.found, '__name__', str(kind))

    def is_a(self, *names: str) -> bool:
        """Whether the class, or one that it inherits from, has one of these names."""
        return any(base.__name__ in names for base in getattr(self.found, '__mro__', ()))


@dataclass
class Examined:
    """What one walk found in a config, for every rule and for what comes after the check.

    Attributes:
        cfg: The config.
        parts: Every dict with a ``type`` that a run builds, the outer ones first.
        values: (path, place, value) of every value that a row of the rules may judge.
        without_type: (path, dict) of what must have a ``type`` where it stands, and has none.
        contents: What its data sets hold, as far as they were read.
    """
    cfg: Config
    parts: list[Part] = field(default_factory=list)
    values: list[tuple[str, str, object]] = field(default_factory=list)
    without_type: list[tuple[str, dict]] = field(default_factory=list)
    contents: list = field(default_factory=list)

    def data_sets(self, *loaders: str) -> list[Part]:
        """The data sets of ``loaders`` that no wrapper (``RepeatDataset`` …) stands around; by default of all."""
        return [part for part in self.parts if part.top in (loaders or DATALOADERS)
                and part.key in ('dataset', 'datasets') and not {'dataset', 'datasets'} & part.cfg.keys()]

    def around(self, part: Part) -> Part | None:
        """The part that ``part`` is an argument of."""
        return next((other for other in self.parts if other.path == part.path.rpartition('.')[0]), None)


def examine(cfg: Config | Examined) -> Examined:
    """Walk through a config, once: what has been examined is given back as it is."""
    if isinstance(cfg, Examined):
        return cfg
    found, scope = Examined(cfg), str(cfg.get('default_scope') or 'mmengine')
    for key in [*(key for key in _TOP if key in cfg), *(key for key in cfg if key not in _TOP)]:
        found.values.append((key, key, cfg[key]))
        if key in _TOP:
            _walk(found, cfg[key], key, key, scope, _TOP[key])
        else:
            found.values += _below(key, cfg[key])
    return found


def _below(place: str, node: object) -> Iterator[tuple[str, str, object]]:
    for name, value in node.items() if isinstance(node, dict) else ():
        yield f'{place}.{name}', f'{place}.{name}', value
        yield from _below(f'{place}.{name}', value)


def _walk(found: Examined, node: object, path: str, place: str, scope: str, places: tuple) -> None:
    if isinstance(node, (list, tuple)):
        for i, item in enumerate(node):
            if isinstance(item, dict) and item.get('type') is None and _LISTS_OF_PARTS.search(place):
                found.without_type.append((f'{path}.{i}', item))
            _walk(found, item, f'{path}.{i}', place, scope, places)
    if not isinstance(node, dict):
        return
    scope = node.get('_scope_') or scope
    part = _part(node, path, place, scope, places) if node.get('type') is not None or path in _DEFAULTS else None
    found.parts += [part] if part else []
    for name, value in node.items():
        inner = f'{place}.{name}'
        if _ANY_VALUE.search(inner):
            found.values.append((f'{path}.{name}', inner, value))
        if isinstance(value, (dict, list, tuple)):
            _walk(found, value, f'{path}.{name}', inner, scope, _places(inner, places, part))


def _part(node: dict, path: str, place: str, scope: str, places: tuple) -> Part:
    kind = node.get('type')
    if kind is None:
        kind = 'IterBasedTrainLoop' if path == 'train_cfg' and not node.get('by_epoch', True) else _DEFAULTS[path]
    if not isinstance(kind, str):
        return Part(path, place, node, scope, places, kind if callable(kind) else None, False)
    found = None
    for holder in places:
        if found is None:
            found = lookup(kind, holder, scope) if isinstance(holder, Registry) else getattr(holder, kind, None)
    judged = kind[:1].isupper() or '.' in kind or not isinstance(places[0], Registry) or re.match(
        SURE, place.rpartition('.')[2])
    return Part(path, place, node, scope, places, found, found is None and bool(judged))


def _places(place: str, places: tuple, part: Part | None) -> tuple:
    """The registries of what stands at ``place``, below ``part``; those of the part where no row says otherwise."""
    if part is not None and part.is_a('Albu', 'Albumentations'):
        return (import_module('albumentations'), )
    if not isinstance(places[0], Registry):
        return places
    found = next((inside for pattern, inside in _INNER if pattern.search(place)), places)
    return tuple(pkgutil.resolve_name(item) if isinstance(item, str) else item for item in found)


@functools.cache
def _prepare(scope: str) -> None:
    """Import what fills the registries of ``scope``, where there is such a package."""
    for module in ('mmengine.runner', 'mmengine.visualization', 'mmcv.cnn', 'mmcv.ops', 'mmcv.transforms'):
        import_module(module)
    with suppress(ModuleNotFoundError):
        import_module(f'{scope}.registry')


def _child(registry: Registry, scope: str) -> Registry:
    """The registry of ``scope`` in the tree of ``registry``, filled; the root where the scope has none of its kind."""
    _prepare(scope)
    found = registry.root._search_child(scope)
    found = registry.root if found is None else found  # an empty registry is falsy
    found.import_from_location()
    return found


def lookup(name: str, registry: Registry, scope: str) -> object:
    """The class or function that MMEngine finds for ``name``, or ``None``."""
    try:
        found = _child(registry, scope).get(name)
    except RuntimeError:
        return None
    return found if callable(found) else None  # a name may be that of a module


def suggest(part: Part) -> str:
    """``' Did you mean "cxrdet.BiFPN"?'`` over every name that the place could hold, spelled so that it is found."""
    spelled: dict[str, str] = {}
    wanted = part.name.partition('.')[0] if '.' in part.name else part.scope
    for place in part.places:
        if not isinstance(place, Registry):
            spelled.update((name, name) for name, value in vars(place).items() if name[0] != '_' and callable(value))
            continue
        for other in (wanted, part.scope, *SCOPES):
            node = _child(place, other)
            import_all(node)
            for known in (node.module_dict if node.scope == other else ()):
                spelled.setdefault(known, known if other in (part.scope, 'mmengine') else f'{other}.{known}')
    return re.sub('"(.*)"', lambda hint: f'"{spelled[hint[1]]}"', did_you_mean(part.name.rpartition('.')[2], spelled))


# --- which arguments a class takes


class Takes(NamedTuple):
    """Arguments of a class or function: name -> default (``Parameter.empty``: none); whether any other name passes,
    too; and those of the class's own ``__init__``."""
    defaults: dict[str, object]
    anything: bool
    own: dict[str, object]


@functools.cache
def takes(target: Callable) -> Takes:
    """What can be given to ``target`` by name.

    A class that hands ``**kwargs`` on to its parent takes the parent's arguments as well. One that uses them in any
    other way could take anything, and is not judged.
    """
    if not inspect.isclass(target):
        return _of(target)
    defaults: dict[str, object] = {}
    first: dict[str, object] | None = None
    for base in target.__mro__[:-1]:
        if '__init__' not in vars(base):
            continue
        own = _of(base.__init__, skip=1)
        first = own.defaults if first is None else first
        defaults = own.defaults | defaults
        read = _hands_on(base.__init__, base.__name__) if own.anything else None
        if read is None:
            return Takes(defaults, own.anything, first)
        defaults |= dict.fromkeys(read - defaults.keys())
    return Takes(defaults, first is None and target.__new__ is not object.__new__, first or {})


def _of(function: Callable, skip: int = 0) -> Takes:
    try:
        signature = list(inspect.signature(function).parameters.values())[skip:]
    except (ValueError, TypeError):  # a builtin
        return Takes({}, True, {})
    named = {p.name: p.default for p in signature if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return Takes(named, any(p.kind is p.VAR_KEYWORD for p in signature), named)


def _hands_on(init: Callable, owner: str) -> set[str] | None:
    """The names that ``init`` reads from its ``**kwargs`` (``kwargs.pop('name')``), if it hands them to its parent's
    ``__init__`` (not to that of one further up) and does nothing else with them; ``None`` if not."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(init)))
    except (OSError, TypeError, SyntaxError):
        return None
    nodes, name = list(ast.walk(tree)), inspect.getfullargspec(init).varkw
    handed = [node for node in nodes if isinstance(node, ast.Call) and f'**{name}' in map(ast.unparse, node.keywords)
              and ast.unparse(node.func) in ('super().__init__', f'super({owner}, self).__init__')]
    read = re.findall(rf"\b{name}\.(?:get|pop|setdefault)\('(\w+)'", ast.unparse(tree))
    uses = sum(isinstance(node, ast.Name) and node.id == name for node in nodes)
    return set(read) if len(handed) == 1 and uses == 1 + len(read) else None


def unknown_arguments(part: Part) -> list[str]:
    """The keys of ``part`` that its class does not take; none where that cannot be told."""
    if not callable(part.found) or takes(part.found).anything:
        return []
    taken = _ALWAYS.union(*(names for pattern, names in _TAKEN_OFF if pattern.search(part.place)))
    return [str(name) for name in part.cfg if name not in takes(part.found).defaults and name not in taken]


def missing_arguments(part: Part) -> list[str]:
    """What the class of ``part`` needs and does not get, where only the config can give it."""
    kind = getattr(part.places[0], 'name', '')
    complete = kind in _COMPLETE or (kind == 'model' and _COMPLETE_KEYS.match(part.key)
                                     and not part.path.endswith('.tta.model'))  # it is given the model it merges for
    if not inspect.isclass(part.found) or not complete:
        return []
    return [name for name, default in takes(part.found).own.items()
            if default is inspect.Parameter.empty and name not in part.cfg and name not in _GIVEN]


# --- the rules


def part_problems(found: Examined) -> Iterator[str]:
    """Types that no registry of their place knows; arguments that a class does not take, or needs and does not get."""
    for part in (part for part in found.parts if part.unknown):
        kinds = getattr(part.places[0], 'name', '') or getattr(part.places[0], '__name__', '')
        yield f'{part.path}.type: "{part.name}" is no known {kinds}.{suggest(part)}'
    for part in found.parts:
        kind = part.cfg.get('type')
        if not (kind is None or isinstance(kind, str) or callable(kind)):
            yield f'{part.path}.type: expected the name of a class, got {kind!r:.60}.'
        yield from (f'{part.path}.{name}: {part.name} takes no argument "{name}".'
                    f'{did_you_mean(name, takes(part.found).defaults)}' for name in unknown_arguments(part))
        yield from (f'{part.path}.{name}: {part.name} needs this argument.' for name in missing_arguments(part))


def value_problems(found: Examined) -> Iterator[str]:
    """Values, and every two together, that a row of the rules forbids."""
    for path, place, value in found.values:
        wrong = (misfit(value, what) for pattern, what in _VALUES if pattern.search(place))
        yield from (f'{path}: {text}' for text in list(filter(None, wrong))[:1])
        for rule in RULES if isinstance(value, dict) else ():
            if rule.kind not in ('needs', 'must have') or not re.search(rule.where, place):
                continue
            key, needed = rule.what[0], rule.what[-1]
            if rule.kind == 'must have':
                yield from (f'{path}.{names.replace("|", " or ")}: missing, and needed.' for names in rule.what
                            if not value.keys() & set(names.split('|')))
            elif value.get(key) and not value.get(needed):
                yield (f'{path}.{key}: {value[key]!r} needs {needed} of at least 1, got {value.get(needed, 0)!r}. '
                       f'Leave {key} out, or raise {needed}.')


def _sizes(found: Examined) -> Iterator[str]:
    """Sizes of 0 and words, which a transform finds out image by image; -1 has a meaning of its own for some."""
    for part in found.parts:
        for key in _SIZES if part.places[0] is TRANSFORMS else ():
            sizes = [part.cfg.get(key)]
            while any(isinstance(size, (list, tuple)) for size in sizes):
                sizes = [item for size in sizes for item in (size if isinstance(size, (list, tuple)) else [size])]
            if any(isinstance(size, str) or (isinstance(size, (int, float)) and (size == 0 or size < -1))
                   for size in sizes):
                yield f'{part.path}.{key}: expected sizes above 0, got {part.cfg[key]!r}.'


def _empty_pipelines(found: Examined) -> Iterator[str]:
    for part in found.data_sets():
        own, outer = part.cfg.get('pipeline', True), (
            other for other in found.parts if part.path.startswith(f'{other.path}.'))
        if not own and not any(other.cfg.get('pipeline') for other in outer):
            yield f'{part.path}.pipeline: expected transforms that load and pack an image, got {own!r}.'


def _packed_too_early(found: Examined) -> Iterator[str]:
    """Transforms that pack an image, which drops all else, before one that loads it."""
    steps = [(part, *part.path.rpartition('.')[::2], part.name.rpartition('.')[2]) for part in found.parts
             if part.places[0] is TRANSFORMS and part.path[-1].isdigit()]
    for part, place, number, name in steps:
        if re.match('Pack.*Inputs$', name):
            later = [load for load, beside, at, other in steps
                     if other.startswith('Load') and beside == place and int(at) > int(number)]
            yield from (f'{part.path}: {part.name} packs what the transforms before it give, but {load.name}, which '
                        f'gives it, comes later (at {load.path}). Put {part.name} last.' for load in later[:1])


def file_problems(found: Examined) -> Iterator[str]:
    """What MMEngine's ``BaseDataset`` joins to the root: one file of annotations, and a dict of folders."""
    for part in found.parts:
        if not part.is_a('BaseDataset') or part.places[0] is not DATASETS:
            continue
        file, prefix = part.cfg.get('ann_file'), part.cfg.get('data_prefix')
        if file is not None and not isinstance(file, (str, Path)):
            yield f'{part.path}.ann_file: expected the path of one file, got {file!r:.60}.'
        if isinstance(prefix, (str, Path)) and not any(
                base.__module__.startswith('mmpretrain') for base in part.found.__mro__):
            yield (f'{part.path}.data_prefix: expected a dict of folders, such as dict(img={str(prefix)!r}), got '
                   f'{prefix!r:.60}.')


def _scheduler_ends(found: Examined) -> Iterator[str]:
    loop = found.cfg.get('train_cfg') or {}
    for part in (part for part in found.parts if part.top == 'param_scheduler'):
        begin, length = part.cfg.get('begin', 0), 'max_epochs' if part.cfg.get('by_epoch', True) else 'max_iters'
        end = part.cfg.get('end', loop.get(length))
        if isinstance(begin, int) and isinstance(end, int) and 0 < end <= begin:
            whose = 'its end is' if 'end' in part.cfg else 'the training ends at'
            where = '' if 'end' in part.cfg else f' (train_cfg.{length})'
            yield (f'{part.path}: {part.name} begins at {begin}, but {whose} {end}{where}. Lower begin, or leave this '
                   'entry out; --cfg-options param_scheduler=[] leaves out all.')


def _unfreezing_by_epochs(found: Examined) -> Iterator[str]:
    """Stages of GradualUnfreezeHook begin at epochs, of which a training by iterations has one."""
    loop = found.cfg.get('train_cfg') or {}
    for part in found.parts if 'max_iters' in loop else ():
        if part.is_a('GradualUnfreezeHook') and len(part.cfg.get('stages') or takes(part.found).defaults['stages']) > 1:
            yield (f'{part.path}: its stages begin at epochs, and train_cfg counts iterations; give one stage, or an '
                   'epoch-based train_cfg.')


def _multiplied_rates(found: Examined) -> Iterator[str]:
    """Rates or decays that ``paramwise_cfg`` would have to multiply and cannot find."""
    wrapper = found.cfg.get('optim_wrapper') or {}
    optimizer, paramwise = wrapper.get('optimizer'), wrapper.get('paramwise_cfg')
    if not paramwise or not isinstance(optimizer, dict):
        return
    inner = optimizer['inner'] if isinstance(optimizer.get('inner'), dict) else {}
    for name, ending in (('lr', 'lr_mult'), ('weight_decay', 'decay_mult')):
        factors = sorted({key for node in walk(paramwise) for key in node if key.endswith(ending)})
        if name in inner:
            yield (f'optim_wrapper.optimizer.inner.{name}: with paramwise_cfg it stands one level up, beside inner: '
                   f'optim_wrapper.optimizer.{name} = {inner[name]}.')
        elif factors and name not in optimizer:
            yield (f'optim_wrapper.optimizer.{name}: missing, and paramwise_cfg has {", ".join(factors)} to multiply '
                   'it by. Give it.')


def _equal_metric_names(found: Examined) -> Iterator[str]:
    """Metrics of one evaluation that give a value of one name, which is known only after the first epoch."""
    for key in ('val_evaluator', 'test_evaluator'):
        one, other = (next((part for part in found.parts if part.top == key and part.is_a(name)), None)
                      for name in ('Accuracy', 'ConfusionMatrixMetric'))
        prefixes = [part.cfg.get('prefix') or part.found.default_prefix for part in (one, other) if part]
        if len(prefixes) == 2 and prefixes[0] == prefixes[1]:
            yield (f'{other.path}: {other.name} and {one.name} ({one.path}) both give {prefixes[0]}/top1; leave one '
                   f'out, or give this one a name of its own: {other.path}.prefix=confusion')


def _untold_sigmoids(found: Examined) -> Iterator[str]:
    """OHEMLoss in a dense head that looks for ``use_sigmoid`` in the config of its loss: without it there it
    predicts a score for the background, which a loss over sigmoids takes for one more class."""
    for part in found.parts:
        if part.key != 'loss_cls' or not part.is_a('OHEMLoss') or part.cfg.get('use_sigmoid'):
            continue
        head, inner = found.around(part), next((own for own in found.parts if own.path == f'{part.path}.loss'), None)
        default = takes(inner.found).defaults.get('use_sigmoid') if inner and callable(inner.found) else None
        if head and head.is_a('BaseDenseHead') and inner and inner.cfg.get('use_sigmoid', default) is True:
            yield (f'{part.path}.use_sigmoid: {head.name} reads it here and would predict a score for the background; '
                   f'give use_sigmoid=True, as the {inner.name} inside has it')


def advice_before_training(found: Examined) -> Iterator[str]:
    """What is no error and yet seldom meant: a focal loss of regions whose scores start at 0.5, not at RetinaNet's
    0.01, for which the head needs a predictor of its own; pixels that are not as pretrained weights expect them; rates
    of parts that a schedule makes equal."""
    yield from _pixels_of_pretrained(found)
    yield from _equal_rates(found)
    for part in found.parts:
        head = found.around(part) if part.is_a('RoIFocalLoss', 'OHEMLoss') else None
        inner = [own for own in found.parts if own.path in (part.path, f'{part.path}.loss')]
        if head and head.is_a('BBoxHead') and any(own.is_a('RoIFocalLoss') for own in inner) \
                and not head.cfg.get('cls_predictor_cfg'):
            yield (f'{head.path}.cls_predictor_cfg: scores start at 0.5 here, so that the first steps '
                   "learn from the background; cls_predictor_cfg=dict(type='cxrdet.PriorLinear') starts them at 0.01, "
                   'as in RetinaNet (prior=0.5 in it: as it is)')


def _equal_rates(found: Examined) -> Iterator[str]:
    """Multiplied rates under MMEngine's OneCycleLR, which sets the rate of every group of parameters to ``eta_max``,
    and ``lr_mult`` under constructors of rates that fall by layers, which do not read it."""
    wrapper = found.cfg.get('optim_wrapper') or {}
    changed = {key for node in walk(wrapper.get('paramwise_cfg') or {}) for key in node
               if key.endswith(('lr_mult', 'layer_decay_rate')) and node[key] != 1}
    constructor = str(wrapper.get('constructor')).rpartition('.')[2]
    if 'lr_mult' in changed and constructor.startswith('LearningRateDecay'):
        yield (f'optim_wrapper.constructor: {constructor} does not read lr_mult, so that those in '
               'optim_wrapper.paramwise_cfg.custom_keys have no effect; its layer_decay_rate sets the rates alone')
    for part in found.parts:
        if changed and part.top == 'param_scheduler' and part.is_a('OneCycleLR') \
                and not isinstance(part.cfg.get('eta_max'), (list, tuple)):
            yield (f'{part.path}: OneCycleLR gives all parameters the rate eta_max, so that the multiplied rates of '
                   'optim_wrapper.paramwise_cfg have no effect. LinearLR and CosineAnnealingLR keep them; see '
                   'cpu_finetune_12e.py in configs/_base_/schedules')


def _pixels_of_pretrained(found: Examined) -> Iterator[str]:
    """Mean, deviation and order of colours that do not fit the weights; not where each image gets a z-score."""
    steps = [part for part in found.parts if part.top == 'train_dataloader']
    for part in found.parts:
        stock = part.is_a('PretrainedInit') and str(part.cfg.get('checkpoint')).partition('://')[0]
        source = stock or part.cfg.get('source')
        if part.key != 'init_cfg' or source not in PIXELS or any(step.is_a('ZScore') for step in steps):
            continue
        path, given = _preprocessor_of(found.cfg, part.path)
        own = [given.get(key) or [default] for key, default in (('mean', 0.), ('std', 1.))]
        if not all(isinstance(values, (list, tuple)) and len(values) in (1, 3) and all(
                isinstance(value, (int, float)) for value in values) for values in own):
            continue  # which building the preprocessor tells
        red_first = given.get('to_rgb') or given.get('bgr_to_rgb') or any(
            step.cfg.get('channel_order') == 'rgb' for step in steps)
        told = f'{path}: {part.path} loads weights of {source}, which expect'
        if not any(np.allclose(own[0], mean, rtol=0, atol=2) and np.allclose(own[1], std, rtol=0.03)
                   for mean, std in PIXELS[source]):
            mean, std = ([round(value, 4) for value in (values * 3)[:3]] for values in PIXELS[source][0])
            yield (f'{told} pixels with mean={mean}, std={std}; here they have mean={list(own[0])}, '
                   f'std={list(own[1])}, by which pretrained features lose most of their worth')
        elif not red_first and source not in GREY:
            yield f'{told} red first, but images are read blue first; give to_rgb=True (a detector: bgr_to_rgb=True)'


def _preprocessor_of(cfg: Config, path: str) -> tuple[str, dict]:
    """Place and config of the data preprocessor in front of the part of the model at ``path``."""
    parts, node, found = path.split('.'), cfg, ('data_preprocessor', cfg.get('data_preprocessor') or {})
    for i, name in enumerate(parts):
        node = node[int(name)] if isinstance(node, (list, tuple)) else node[name]
        if isinstance(node, dict) and node.get('data_preprocessor'):
            found = '.'.join([*parts[:i + 1], 'data_preprocessor']), node['data_preprocessor']
    return found


def _losses_of_deltas(found: Examined) -> Iterator[str]:
    """Losses of the IoU (GIoU, DIoU …) in heads that give them deltas instead of boxes; dense heads with a loss of
    their own (ATSS, FCOS …) decode boxes before it."""
    for part in found.parts:
        if part.key != 'loss_bbox' or getattr(part.found, '__module__', '') != 'mmdet.models.losses.iou_loss':
            continue
        head = found.around(part)
        if head and not head.cfg.get('reg_decoded_bbox'):
            methods = (getattr(head.found, name, None) for name in ('loss_by_feat', 'loss_by_feat_single'))
            own = {getattr(method, '__qualname__', '').partition('.')[0] for method in methods}
            if head.is_a('BBoxHead') or ('AnchorHead' in own and own <= {'AnchorHead', 'RPNHead'}):
                yield (f'{head.path}.reg_decoded_bbox: {part.name} compares boxes, and {head.name} would give it '
                       'deltas; give reg_decoded_bbox=True')


# --- what is built for a try, and what is said of an error in building the rest


def _building_problems(found: Examined, told: Sequence[str]) -> list[str]:
    """Transforms and optimizers that refuse their arguments; not those of ``told`` problems, nor what needs a file,
    a network or a package that is not there (a tokenizer …)."""
    problems: dict[str, str] = {}
    for part in reversed(found.parts):  # the inner ones first: their error is the nearer one
        optimizer = part.places[0] is OPTIMIZERS and part.key == 'optimizer'
        if not callable(part.found) or not (optimizer or part.places[0] is TRANSFORMS) or any(
                line.startswith(part.path) for line in [*told, *problems.values()]):
            continue
        known, arguments = takes(part.found), {key: value for key, value in part.cfg.items() if key not in _ALWAYS}
        if any('tokenizer' in name for name in known.defaults) or (
                not known.anything and arguments.keys() - known.defaults.keys()):
            continue
        if optimizer:
            arguments['params'] = [torch.nn.Parameter(torch.zeros(2, 2))]
        try:
            with DefaultScope.overwrite_default_scope(part.scope):
                part.found(**copy.deepcopy(arguments))
        except (ImportError, OSError):
            continue
        except Exception as error:  # of any kind: it is what a run would end with
            problems[part.path] = _refusal(part.path, part.name, error, part.cfg)
    return list(problems.values())[::-1]


def _refusal(path: str, name: str, error: BaseException, cfg: dict, fails: str = _NOT_BUILT) -> str:
    said = f'{type(error).__name__}: {error_text(error)}'
    if isinstance(error, CxrdetError):
        said = str(error)
    elif not str(error):  # a bare assertion: its line in the source, and the arguments that stand there
        at = traceback.extract_tb(error.__traceback__)[-1]
        lines = range(at.lineno, (at.end_lineno or at.lineno) + 1)
        line = ' '.join(linecache.getline(at.filename, number).strip() for number in lines)
        given = [f'{key}={value!r:.60}' for key, value in cfg.items() if re.search(rf'\b{key}\b', line)]
        said += ', '.join([line, *given])
    return f'{path}: {name} {fails}: {said}'


@contextmanager
def told_by_place(parts: Sequence[Part]) -> Iterator[None]:
    """Errors in building one of ``parts``, or in the first step of a training, become a ConfigError with its place.

    Others stay what they are: those of the machine, and those that a function of this package raises which belongs to
    no part of a config.
    """
    try:
        yield
    except Exception as error:
        frames = [(frame, frame.f_locals.get('self')) for frame, _ in traceback.walk_tb(error.__traceback__)]
        at = traceback.extract_tb(error.__traceback__)[-1]
        if _OF_THE_MACHINE.search(str(error)) or (
                isinstance(error, (CxrdetError, MemoryError)) and not isinstance(error, ConfigError)):
            raise
        built = [frame.f_locals['cfg'] for frame, _ in frames
                 if frame.f_code.co_name in ('build_from_cfg', 'build_scheduler_from_cfg')
                 and isinstance(frame.f_locals.get('cfg'), dict)]
        owners = next(filter(None, ([part for part in parts if part.found is type(own)]
                                    for _, own in frames[::-1])), [])
        where = f' ({Path(at.filename).name}, line {at.lineno})'
        if built:
            node = built[-1]
            alike = [part for part in parts if part.cfg.get('type') == node.get('type')] or owners
            part = max(alike, key=lambda part: sum(_same(node.get(key), part.cfg[key]) for key in part.cfg),
                       default=None)
            kind = node.get('type')
            told = _refusal(part.path if part else 'config', getattr(kind, '__name__', str(kind)), error, node)
        elif isinstance(error, (ConfigError, OSError)) or not _is_of_the_config(error, frames):
            raise
        elif 'Original Traceback' in str(error):  # of a process that loads images
            said = str(error).strip().rpartition('\n')[2]
            told, where = f'train_dataloader.dataset: {said}', _last_line(str(error))
        elif owners:
            told = _refusal(owners[0].path, owners[0].name, error, owners[0].cfg, 'fails in the first step')
        else:
            names = [frame.f_code.co_name for frame, _ in frames]
            method = next((name for name in names[::-1] if name in _BUILT_BY), None)
            if method is None:
                raise
            told = _refusal(_BUILT_BY[method], f'Runner.{method}', error, {}, 'fails')
        raise ConfigError(told if isinstance(error, ConfigError) else told + where) from error


def _is_of_the_config(error: Exception, frames: list[tuple]) -> bool:
    """Whether a run fails as it is built or at its first step, and not in a function of ours that is no part."""
    loops = [owner for _, owner in frames if isinstance(owner, BaseLoop)]
    files = [frame.f_code.co_filename for frame, _ in frames] + re.findall('File "(.*)", line', str(error))
    last = next((found for found in map(_PACKAGE.search, files[::-1]) if found), None)
    return (any(isinstance(owner, Runner) for _, owner in frames)
            and all(getattr(loop, 'iter', 1) == 0 for loop in loops)
            and last is not None and (last[1] != 'cxrdet' or bool(_PLUGIN.match(last[2]))))


def _last_line(text: str) -> str:
    file, number = re.findall('File "(.*)", line ([0-9]+)', text)[-1]
    return f' ({Path(file).name}, line {number})'


def _same(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except (ValueError, RuntimeError):  # arrays, tensors
        return False


# --- the number of classes


def class_places(found: Examined) -> Iterator[tuple[str, dict, str]]:
    """Where the model takes the number of classes: (path, dict, key), also where the config leaves the key out."""
    cfg = found.cfg
    for part in found.parts:
        if part.top == 'model' and not OTHER_COUNTS & set(part.place.split('.')[1:]):
            yield from ((part.path, part.cfg, key) for key in COUNT_KEYS if key in part.cfg or _counts(part, key))
        elif part.top in ('val_evaluator', 'test_evaluator') and isinstance(part.cfg.get('num_classes'), int):
            yield part.path, part.cfg, 'num_classes'
    mixes = (cfg.model.get('train_cfg') or {}).get('augments')  # where MMPretrain's configs put mixup and cutmix
    for path, owner in (('data_preprocessor', cfg), ('model.data_preprocessor', cfg.model)):
        node = owner.get('data_preprocessor')
        if isinstance(node, dict) and (owner is cfg or 'type' not in node) and (
                'num_classes' in node or node.get('batch_augments') or node.get('to_onehot') or mixes):
            yield path, node, 'num_classes'  # it names one, or mixes images, for which labels become vectors


def _counts(part: Part, key: str) -> bool:
    """Whether the class must be given ``key``, or has a number of its own for it (0, -1 and ``None`` mean "unused")."""
    if not callable(part.found):
        return False
    default = takes(part.found).defaults.get(key)
    return default is inspect.Parameter.empty or (type(default) is int and default > 0)


def named_classes(part: Part) -> list[str] | None:
    """The classes that the config names for a data set (a list, or a file with one a line), or ``None``."""
    classes = (part.cfg.get('metainfo') or {}).get('classes')
    if isinstance(classes, str):
        classes = Path(classes).read_text(encoding='utf-8').split('\n') if Path(classes).is_file() else [classes]
        classes = [name.strip() for name in classes if name.strip()]
    return list(classes) if classes else None


def class_count_problems(found: Examined) -> list[str]:
    """Where a data set that cannot tell its classes is given a list of them that does not fit the model's numbers."""
    training = found.data_sets('train_dataloader')
    counts = {len(named_classes(part)) for part in training if named_classes(part)}
    if len(counts) != 1 or any(hasattr(part.found, 'read_classes') or part.cfg.get('return_classes')
                               for part in training):  # the latter: open vocabulary, the number bounds the prompt
        return []
    number = counts.pop()
    return [f'{path}.{key}: {node[key]}, but the training set names {number} classes'
            for path, node, key in class_places(found) if key in node and node[key] != number]


def set_classes(cfg: Config | Examined, names: Sequence[str]) -> tuple[str, ...] | None:
    """Write class names into every data set of a config and their number into the model; the config is changed.

    Returns:
        The names; ``None`` where no data set tells its classes (``read_classes``): stock sets have a fixed list, and
        such a config is left alone.

    Raises:
        ConfigError: If a list of per-class weights cannot follow.
    """
    found = examine(cfg)
    sets, names = found.data_sets(), tuple(names)
    if sets and not any(hasattr(part.found, 'read_classes') for part in sets):
        return None
    palettes = [{'palette': info['palette']} for info in (part.cfg.get('metainfo') or {} for part in sets)
                if info.get('palette') is not None]
    for part in sets:
        own = part.cfg.get('metainfo') or {}
        part.cfg['metainfo'] = {**(palettes[0] if palettes else {}), **own, 'classes': names}
    if 'teacher' in found.cfg.model and 'student' in found.cfg.model:
        found.cfg.model['classes'] = names  # by which a distilled model finds its teacher's scores
    changed = []
    for path, node, key in class_places(found):
        _set_class_weights(path, node, node.get(key), len(names))
        node[key] = len(names)
        changed.append(path)
    print_log(f'{len(names)} classes ({", ".join(names)}): num_classes = {len(names)} in '
              f'{", ".join(changed) or "no part of the model"}', logger='current')
    return names


def _set_class_weights(path: str, node: dict, old: int | None, number: int) -> None:
    """Lists of per-class weights in a head's losses follow: equal weights, and a last one for the background."""
    for name, loss in node.items():
        weights = loss.get('class_weight') if isinstance(loss, dict) else None
        if not isinstance(weights, (list, tuple)) or old is None or old == number:
            continue
        if len(weights) - old not in (0, 1) or len(set(weights[:old])) > 1:
            raise ConfigError(f'{path}.{name}.class_weight: {len(weights)} weights for {old} classes, but the data has '
                              f'{number}: give {number} weights (and one for the background, if the loss has it).')
        loss['class_weight'] = [weights[0]] * number + list(weights[old:])


# --- all of them


def config_problems(cfg: Config | Examined) -> list[str]:
    """What is wrong with the keys, types, arguments and values of a config; no file that it names is looked at."""
    found = examine(cfg)
    shapes = shape_problems(found.cfg)
    problems = key_problems(found.cfg) + shapes
    if 'model' not in found.cfg:
        return [*problems, 'model: the config has no model = dict(type=...).']
    if shapes:
        return problems  # what is no section cannot be looked into
    rules = [globals()[rule.what] for rule in RULES if rule.kind == 'function']
    problems += [f'{path}: expected a dict with "type", got the keys {", ".join(map(str, item)) or "none"}.'
                 f'{did_you_mean("type", map(str, item))}' for path, item in found.without_type]
    problems += [line for rule in (value_problems, part_problems, class_count_problems, *rules) for line in rule(found)]
    return problems + _building_problems(found, problems)


def check_config(cfg: Config) -> Examined:
    """Check keys, type names, arguments, values and the number of classes; no file that the config names is looked at.

    Returns:
        What was found on the way, for :func:`set_classes` and :func:`told_by_place`.

    Raises:
        ConfigError: One line for every problem: its place in the config, what was expected, the nearest known name.
    """
    found = examine(cfg)
    refuse(cfg, config_problems(found))
    return found


def refuse(cfg: Config, problems: Sequence[str]) -> None:
    """Raise a ConfigError with all of ``problems``, if there are any."""
    if problems:
        count = f'{len(problems)} problem{"s" if len(problems) > 1 else ""}'
        raise ConfigError('\n'.join([f'{cfg.filename or "config"}: {count}', *(f'  {line}' for line in problems)]))
