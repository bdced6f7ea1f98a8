"""Where the ``type=`` of a config is looked up: the registry that belongs to each place, and what it finds there.

MMEngine looks a name up when the part is built, one at a time, deep in a run. Here the whole tree is read beforehand,
with the same rules of scope: a prefix (``cxrdet.BiFPN``) names its scope, ``_scope_`` changes it for a subtree, and
``default_scope`` holds for the rest. Nothing is built.
"""
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

from mmengine import registry as root
from mmengine.registry import Registry
from mmengine.utils import get_object_from_string

from cxrdet.core.errors import did_you_mean

MODEL = (root.MODELS, root.TASK_UTILS)
METRIC = (root.METRICS, root.EVALUATOR, root.TASK_UTILS)
SCOPES = ('cxrdet', 'mmdet', 'mmpretrain', 'mmengine')

# Top-level keys that MMEngine's Runner (or a test or predict tool) builds from, and the registries it does that with.
TOP = {
    'model': MODEL, 'tta_model': MODEL, 'data_preprocessor': MODEL, 'model_wrapper_cfg': (root.MODEL_WRAPPERS,),
    'train_dataloader': (root.DATASETS,), 'val_dataloader': (root.DATASETS,), 'test_dataloader': (root.DATASETS,),
    'test_pipeline': (root.TRANSFORMS,), 'tta_pipeline': (root.TRANSFORMS,),
    'train_cfg': (root.LOOPS,), 'val_cfg': (root.LOOPS,), 'test_cfg': (root.LOOPS,),
    'optim_wrapper': (root.OPTIM_WRAPPERS,), 'param_scheduler': (root.PARAM_SCHEDULERS,),
    'val_evaluator': METRIC, 'test_evaluator': METRIC,
    'default_hooks': (root.HOOKS,), 'custom_hooks': (root.HOOKS,), 'log_processor': (root.LOG_PROCESSORS,),
    'visualizer': (root.VISUALIZERS,), 'vis_backends': (root.VISBACKENDS,),
}  # yapf: disable

# Keys that change the registry for what stands below them, inside the top-level keys of the first column.
_INNER = [
    (re.compile(r'pipeline$'), (root.TRANSFORMS,)),
    (re.compile(r'^datasets?$'), (root.DATASETS,)),
    (re.compile(r'^optimizer$'), (root.OPTIMIZERS,)),
    (re.compile(r'^vis_backends$'), (root.VISBACKENDS,)),
    (re.compile(r'^collate_fn$|^worker_init_fn$'), (root.FUNCTIONS,)),
    (re.compile(r'^metrics$'), (root.METRICS,)),
]
_LOADER = [(re.compile(r'^(batch_)?sampler$'), (root.DATA_SAMPLERS,))]
_MODEL = [
    (re.compile(r'^init_cfg$|^override$'), (root.WEIGHT_INITIALIZERS,)),
    (re.compile(r'(^|_)(assigner|sampler|coder|match_costs?|iou_calculator|anchor_generator|prior_generator)$'),
     (root.TASK_UTILS, root.MODELS)),
]

# Places whose type is certainly looked up, so that a name in lower case is judged, too. Elsewhere a lower-case type
# may be a word of the part itself (``clip_grad=dict(type='norm')``) and is left alone.
_SURE = re.compile(r'^(model|detector|backbone|neck|\w*head|\w*loss\w*|\w*norm_cfg|act_cfg|conv_cfg|upsample_cfg|'
                   r'\w*_extractor|data_preprocessor|init_cfg|datasets?|\w*pipeline|transforms|\w*sampler|assigner|'
                   r'bbox_coder|\w*_generator|optimizer|optim_wrapper|param_scheduler|\w*evaluator|metrics|'
                   r'default_hooks|custom_hooks|visualizer|vis_backends|train_cfg|val_cfg|test_cfg|nms|roi_layer|'
                   r'augments|collate_fn)$')


_DEFAULTS = {'train_cfg': '', 'val_cfg': 'ValLoop', 'test_cfg': 'TestLoop', 'optim_wrapper': 'OptimWrapper',
             'log_processor': 'LogProcessor'}


@dataclass(frozen=True)
class Part:
    """A dict of the config that names a type.

    Attributes:
        path: Dotted, as ``--cfg-options`` takes it: ``model.roi_head.bbox_head.0``.
        key: Its last name, without list indices: ``bbox_head``.
        cfg: The dict itself.
        scope: The scope in which unprefixed names are looked up.
        places: The registries that belong to the place, or a module whose attributes are the names.
        found: The class or function, ``None`` if the name is unknown, is no string, or cannot be judged.
        unknown: ``True`` if the name must be found here and is not.
    """
    path: str
    key: str
    cfg: dict
    scope: str
    places: tuple
    found: object
    unknown: bool

    @property
    def name(self) -> str:
        """How the config spells the type; the class's own name where the config gives the class or nothing."""
        kind = self.cfg.get('type')
        return kind if isinstance(kind, str) else getattr(self.found, '__name__', str(kind))


@functools.cache
def prepare(scope: str) -> bool:
    """Import what fills the registries of ``scope``; ``False`` if there is no such package."""
    import_module('mmengine.runner')
    import_module('mmengine.visualization')
    for module in ('mmcv.cnn', 'mmcv.ops', 'mmcv.transforms'):
        import_module(module)
    try:
        import_module(f'{scope}.registry')
    except ModuleNotFoundError:
        return scope == 'mmengine'
    return True


def child(registry: Registry, scope: str) -> Registry:
    """The registry of ``scope`` in the tree of ``registry``, filled; the root where the scope has none of its kind."""
    prepare(scope)
    found = registry.root._search_child(scope)
    found = registry.root if found is None else found  # an empty registry is falsy
    found.import_from_location()
    return found


def lookup(name: str, registry: Registry, scope: str) -> object:
    """The class or function that MMEngine would find for ``name``, or ``None``."""
    prefix, _, bare = name.rpartition('.')
    if not prefix:
        node: Registry | None = child(registry, scope)
        while node is not None:
            if name in node.module_dict:
                return node.module_dict[name]
            node = node.parent
        return None
    first, _, rest = name.partition('.')
    if first in SCOPES or '.' not in prefix:
        node = registry.root._search_child(first) if prepare(first) else None
        if node is not None:
            node.import_from_location()
            if rest in node.module_dict:
                return node.module_dict[rest]
    try:
        return get_object_from_string(name)
    except (ImportError, AttributeError, ValueError):
        return None


def suggest(name: str, places: tuple, scope: str) -> str:
    """``' Did you mean "cxrdet.BiFPN"?'`` over every name that the place could hold, spelled so that it is found."""
    by_bare: dict[str, str] = {}
    wanted = name.partition('.')[0] if '.' in name else scope
    for place in places:
        if not isinstance(place, Registry):
            by_bare.update((known, known) for known in module_names(place))
            continue
        for other in (wanted, scope, *SCOPES):
            node = child(place, other)
            for known in (node.module_dict if node.scope == other else ()):
                by_bare.setdefault(known, known if other in (scope, 'mmengine') else f'{other}.{known}')
    bare = name.rpartition('.')[2]
    hint = did_you_mean(bare, by_bare)
    close = hint.split('"')[1] if hint else None
    return f' Did you mean "{by_bare[close]}"?' if close else ''


@functools.cache
def module_names(module: object) -> tuple[str, ...]:
    return tuple(name for name, value in vars(module).items() if not name.startswith('_') and callable(value))


def parts(cfg: dict) -> Iterator[Part]:
    """Every dict with a ``type`` below the keys that a run builds from, the outer ones first."""
    for key, places in TOP.items():
        if key in cfg:
            yield from _walk(cfg[key], key, key, str(cfg.get('default_scope') or 'mmengine'), places, key)


def _walk(node: object, path: str, key: str, scope: str, places: tuple, top: str) -> Iterator[Part]:
    if isinstance(node, (list, tuple)):
        for i, item in enumerate(node):
            yield from _walk(item, f'{path}.{i}', key, scope, places, top)
    if not isinstance(node, dict):
        return
    scope = node.get('_scope_') or scope
    part = None
    if node.get('type') is not None or path in _DEFAULTS:
        part = _part(node, path, key, scope, places)
        yield part
    for name, value in node.items():
        if isinstance(value, (dict, list, tuple)):
            # MMPretrain's image retriever has a dataloader in its model
            below = 'prototype_dataloader' if name == 'prototype' else top
            yield from _walk(value, f'{path}.{name}', str(name), scope, _places(str(name), places, top, part), below)


def default_type(path: str, node: dict) -> str:
    """The type that the Runner takes where a section names none."""
    if path == 'train_cfg':
        return 'EpochBasedTrainLoop' if node.get('by_epoch', True) else 'IterBasedTrainLoop'
    return _DEFAULTS[path]


def _part(node: dict, path: str, key: str, scope: str, places: tuple) -> Part:
    kind = node.get('type') or default_type(path, node)
    if not isinstance(kind, str):
        return Part(path, key, node, scope, places, kind if callable(kind) else None, False)
    found = None
    for place in places:
        if found is None:
            found = lookup(kind, place, scope) if isinstance(place, Registry) else getattr(place, kind, None)
    judged = kind[:1].isupper() or '.' in kind or bool(_SURE.match(key)) or not isinstance(places[0], Registry)
    return Part(path, key, node, scope, places, found, found is None and judged)


def _places(name: str, places: tuple, top: str, part: Part | None) -> tuple:
    if part is not None and _holds_albumentations(part.found):
        return (import_module('albumentations'),)
    if not isinstance(places[0], Registry):
        return places
    for pattern, inside in _INNER + (_LOADER if top.endswith('dataloader') else []):
        if pattern.search(name) and top != 'default_hooks':
            return inside
    if top in ('model', 'tta_model', 'data_preprocessor'):
        if name == 'nms' or name.endswith('_nms'):
            return (import_module('mmcv.ops.nms'),)
        if name == 'roi_layer':
            return (import_module('mmcv.ops'),)
        if name in ('augments', 'tokenizer'):
            return _mmpretrain(name)
        return next((inside for pattern, inside in _MODEL if pattern.search(name)), MODEL)
    return places


def _mmpretrain(name: str) -> tuple:
    """Two registries that only MMPretrain has."""
    registry = import_module('mmpretrain.registry')
    return (registry.BATCH_AUGMENTS if name == 'augments' else registry.TOKENIZER,)


def _holds_albumentations(found: object) -> bool:
    return isinstance(found, type) and any(base.__name__ in ('Albu', 'Albumentations') for base in found.__mro__)


def type_problems(found: list[Part]) -> list[str]:
    """One line for every type name that no registry of its place knows."""
    problems = []
    for part in found:
        if part.unknown:
            where = part.places[0].name if isinstance(part.places[0], Registry) else part.places[0].__name__
            problems.append(f'{part.path}.type: "{part.name}" is no known {where}.'
                            f'{suggest(part.name, part.places, part.scope)}')
    return problems
