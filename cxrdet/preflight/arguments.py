"""Which arguments a class takes, and which of a config's it does not.

A class that hands ``**kwargs`` on to its parent takes the parent's arguments as well. One that uses ``**kwargs`` in any
other way could take anything, and is not judged.
"""
import ast
import functools
import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from mmengine.registry import Registry

from cxrdet.core.errors import did_you_mean
from cxrdet.preflight.types import Part

# Arguments that the builder of a place takes off before the class sees them, by the key of the place.
_TAKEN_OFF = [
    (re.compile(r'norm_cfg$'), {'requires_grad'}),
    (re.compile(r'(^|_)(hooks|backends)$|^plugins$|^cfg$'), {'priority', 'name', 'postfix'}),
    (re.compile(r'^(train|val|test)_cfg$'), {'by_epoch'}),
    (re.compile(r'^param_scheduler$'), {'convert_to_iter_based'}),
    (re.compile(r'^init_cfg$'), {'layer', 'override'}),
    (re.compile(r'^optim_wrapper$'), {'constructor', 'paramwise_cfg'}),
    (re.compile(r'^(dcn|conv|dcn_conv)(_cfg)?$'), {'fallback_on_stride', 'deformable_groups'}),
    (re.compile(r'^upsample_cfg$'), {'scale_factor', 'upsample_kernel', 'mode', 'align_corners'}),
    (re.compile(r'(^|_)nms$'), {'class_agnostic', 'split_thr', 'max_num', 'min_score', 'method', 'sigma'}),
    (re.compile(r'^loss_cls$'), {'bg_cls_weight'}),
    (re.compile(r'^policies$'), {'magnitude_key', 'magnitude_range'}),
    (re.compile(r'^bbox_params$'), {'filter_lost_elements'}),
    (re.compile(r'^vision_encoder$'), {'pretrained'}),
]
_COMPLETE = ('dataset', 'transform', 'metric', 'hook')  # registries that build from the config alone
_COMPLETE_KEYS = re.compile(r'^(model|backbone|neck|\w*head)$')  # parts of a model that do as well
_GIVEN = {'num_classes', 'train_cfg', 'test_cfg'}
_ALWAYS = {'type', '_scope_', '_delete_'}


@dataclass(frozen=True)
class Takes:
    """The arguments of a class or function.

    Attributes:
        defaults: Name -> default; ``inspect.Parameter.empty`` where there is none.
        anything: Whether other names pass, too.
        own: Those of the class's own ``__init__`` among ``defaults``.
    """
    defaults: dict[str, object]
    anything: bool
    own: dict[str, object]


@functools.cache
def takes(target: Callable) -> Takes:
    """What can be given to ``target`` by name."""
    if not inspect.isclass(target):
        return _of(target, skip_first=False)
    defaults: dict[str, object] = {}
    first: dict[str, object] | None = None
    for base in target.__mro__:
        if '__init__' not in vars(base) or base is object:
            continue
        own = _of(base.__init__, skip_first=True)
        first = own.defaults if first is None else first
        defaults = own.defaults | defaults
        read = _hands_on(base.__init__, base.__name__) if own.anything else None
        if read is None:
            return Takes(defaults, own.anything, first)
        defaults |= dict.fromkeys(read - defaults.keys())
    return Takes(defaults, first is None and target.__new__ is not object.__new__, first or {})


def _of(function: Callable, skip_first: bool) -> Takes:
    try:
        signature = list(inspect.signature(function).parameters.values())[1 if skip_first else 0:]
    except (ValueError, TypeError):  # a builtin
        return Takes({}, True, {})
    named = {p.name: p.default for p in signature if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return Takes(named, any(p.kind is p.VAR_KEYWORD for p in signature), named)


def _hands_on(init: Callable, owner: str) -> set[str] | None:
    """Whether ``**kwargs`` of ``init`` goes to the parent's ``__init__`` and nowhere else.

    Returns:
        The names that ``init`` itself reads from ``kwargs`` on the way (``kwargs.pop('name')``), or ``None``.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(init)))
    except (OSError, TypeError, SyntaxError):
        return None
    function = next((node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)), None)
    if function is None or function.args.kwarg is None:
        return None
    name = function.args.kwarg.arg
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    read = [call.args[0].value for call in calls if isinstance(call.func, ast.Attribute)
            and call.func.attr in ('get', 'pop', 'setdefault') and getattr(call.func.value, 'id', None) == name
            and call.args and isinstance(call.args[0], ast.Constant)]
    handed = [word for call in calls if _is_parent_init(call.func, owner)
              for word in call.keywords if word.arg is None and getattr(word.value, 'id', None) == name]
    uses = sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(function))
    return set(read) if len(handed) == 1 and uses == 1 + len(read) else None


def _is_parent_init(function: ast.expr, owner: str) -> bool:
    """``super().__init__`` or ``super(Owner, self).__init__``; not that of a parent further up."""
    caller = getattr(function, 'value', None)
    return (isinstance(caller, ast.Call) and getattr(function, 'attr', None) == '__init__'
            and getattr(caller.func, 'id', None) == 'super'
            and (not caller.args or getattr(caller.args[0], 'id', None) == owner))


def unknown_arguments(part: Part) -> list[str]:
    """The keys of ``part`` that its class does not take; none where that cannot be told."""
    if not callable(part.found) or takes(part.found).anything:
        return []
    taken = set().union(_ALWAYS, *(names for pattern, names in _TAKEN_OFF if pattern.search(part.key)))
    return [str(name) for name in part.cfg if name not in takes(part.found).defaults and name not in taken]


def missing_arguments(part: Part) -> list[str]:
    """What the class of ``part`` needs and does not get; judged where only the config can give it.

    ``num_classes`` comes from :func:`cxrdet.preflight.classes.follow_classes`, the others from the detector around the
    part.
    """
    complete = isinstance(part.places[0], Registry) and (part.places[0].name in _COMPLETE or (
        part.places[0].name == 'model' and bool(_COMPLETE_KEYS.match(part.key))
        and not part.path.endswith('.tta.model')))  # the member whose views it merges is given to it
    if not inspect.isclass(part.found) or not complete:
        return []
    return [name for name, default in takes(part.found).own.items()
            if default is inspect.Parameter.empty and name not in part.cfg and name not in _GIVEN]


def argument_problems(found: list[Part]) -> list[str]:
    """One line for every argument that the class of its part does not take, or needs and does not get."""
    problems = []
    for part in found:
        problems += [f'{part.path}.{name}: {part.name} takes no argument "{name}".'
                     f'{did_you_mean(name, takes(part.found).defaults)}' for name in unknown_arguments(part)]
        problems += [f'{part.path}.{name}: {part.name} needs this argument.' for name in missing_arguments(part)]
    return problems
