"""Changes that any recipe takes, by name: ``cxrdet train faster_rcnn_bifpn_cell+mosaic+ema``.

A mod is a file of ``configs/_base_/mods``, or one of the user's own, that holds one dict of the file's name. Its parts
are sections of a config, merged by MMEngine's rules, and, for pipelines, which cannot be merged:

- ``steps``: ``dict(instead_of='size', put=[...])``, or ``before=`` or ``after=``, at the step that sets the size of
  images, mirrors (``'flip'``) or packs (``'pack'``) them; in training, or with ``everywhere=True`` in testing, too.
- ``mix``: steps that take several images, behind the one that sets the size (``MultiImageMixDataset``).
- ``wrap``: a data set that stands around the training set, such as ``ClassBalancedDataset``.
- ``load_image``: arguments of ``cxrdet.LoadImage``, in training and testing.
- ``needs``: the place in a config without which the mod means nothing.
- ``needs_step``: the step without which it means nothing, in the training pipelines: ``PackDetInputs`` of detectors.
- ``optimizer_around``: an optimizer that takes the recipe's own as ``inner`` (``cxrdet.Lookahead``).

``'{scale}'``, ``'{width}'`` and ``'{height}'``, also times a number (``'{scale*0.8}'``), are the recipe's own size.
In a variant the parts are used one by one: ``model = {{_base_.ohem.model}}`` with ``_base_/mods/ohem.py`` as a base.
"""
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.config import Config, ConfigDict

from cxrdet.core.config_tree import DATALOADERS, walk
from cxrdet.core.errors import ConfigError, did_you_mean
from cxrdet.core.recipes import mods

OWN = ('steps', 'mix', 'wrap', 'load_image', 'needs', 'needs_step', 'optimizer_around')
ROLES = {'size': ('Resize', 'RandomResize', 'RandomChoiceResize'), 'flip': ('RandomFlip',),
         'pack': ('PackDetInputs', 'PackInputs')}
WHERE = ('instead_of', 'before', 'after')
MIXED = 'MultiImageMixDataset'
SIZE = re.compile(r'\{(scale|width|height)(?:\*([\d.]+))?\}')


def apply_mods(cfg: Config, names: Sequence[str]) -> None:
    """Change ``cfg`` by mods, in the order given.

    Args:
        cfg: A recipe.
        names: Names of mods, or paths of files.

    Raises:
        ConfigError: If there is no such mod, or the recipe lacks what it changes.
    """
    known = mods()
    for name in names:
        path = Path(name) if name.endswith('.py') else known.get(name)
        if path is None or not path.is_file():
            raise ConfigError(f'+{name}: no such mod; there are {", ".join(known)}, or give the path of a file.'
                              f'{did_you_mean(name, known)}')
        mod = Config.fromfile(str(path)).get(path.stem)
        if not isinstance(mod, dict):
            raise ConfigError(f'+{name}: {path} holds no dict "{path.stem}"')
        _apply(cfg, mod.to_dict(), f'+{name}')


def _apply(cfg: Config, mod: dict, where: str) -> None:
    place = mod.get('needs', '')
    node = cfg
    for key in place.split('.') if place else ():
        if key not in (node or {}):
            raise ConfigError(f'{where}: the config has no {place}, which this mod changes')
        node = node[key]
    own = {key: mod[key] for key in OWN if key in mod}
    if 'needs_step' in own and cfg.get('train_dataloader'):
        _check_step(cfg.train_dataloader, own['needs_step'], where)
    if 'optimizer_around' in own:
        _put_around(cfg, own['optimizer_around'], where)
    _forget_shortcuts(cfg, mod)
    cfg.merge_from_dict({key: value for key, value in mod.items() if key not in OWN})
    for loader in (cfg[name] for name in DATALOADERS if cfg.get(name)):
        training = loader is cfg.get('train_dataloader')
        for node in _with_pipelines(loader) if 'load_image' in own else ():
            _load_otherwise(node, own['load_image'])
        for edit in own.get('steps', ()):
            if training or edit.get('everywhere'):
                _edit(loader, edit, where)
        if training and 'mix' in own:
            _mix(loader, own['mix'], where)
        if training and 'wrap' in own:
            outer = loader.dataset if loader.dataset.type == MIXED else loader
            outer.dataset = ConfigDict(own['wrap'] | dict(dataset=outer.dataset))


def _forget_shortcuts(cfg: Config, mod: dict) -> None:
    """Take the places out of the config's shortcuts that a mod has done away with: those in lists, of which another
    comes instead, and those that a dict with ``_delete_`` has not."""
    replaced = dict(_replaced(mod))
    for key in cfg if replaced else ():
        if key.endswith('_shortcuts') and key not in mod:
            cfg[key] = {name: [place for place in places if _stays(place, replaced)]
                        for name, places in cfg[key].items()}


def _replaced(node: dict, place: str = '') -> Iterator[tuple[str, list | dict]]:
    """(place, what comes there) of the lists, and dicts with ``_delete_``, that a mod gives."""
    for key, value in node.items():
        if isinstance(value, list) or (isinstance(value, dict) and value.get('_delete_')):
            yield f'{place}{key}.', value
        elif isinstance(value, dict):
            yield from _replaced(value, f'{place}{key}.')


def _stays(place: str, replaced: dict[str, list | dict]) -> bool:
    above = next((whole for whole in replaced if place.startswith(whole)), None)
    if above is None:
        return True
    node = replaced[above]
    for key in place.removeprefix(above).split('.'):
        if not isinstance(node, dict) or key not in node:
            return False
        node = node[key]
    return True


def _check_step(loader: dict, step: str, where: str) -> None:
    steps = [str(one.get('type')) for node in _with_pipelines(loader) for one in node['pipeline']]
    if not any(_is(dict(type=one), (step,)) for one in steps):
        what = 'this mod is for detectors: ' if step == 'PackDetInputs' else ''
        raise ConfigError(f'{where}: {what}expected a step {step} in the pipeline, which has '
                          f'{", ".join(steps) or "none"}')


def _put_around(cfg: Config, outer: dict, where: str) -> None:
    """Make the recipe's optimizer the inner one of another, which takes its rate and weight decay."""
    inner = dict((cfg.get('optim_wrapper') or {}).get('optimizer') or {})
    if 'type' not in inner:
        raise ConfigError(f'{where}: the config has no optim_wrapper.optimizer, which this mod changes')
    rates = {key: inner.pop(key) for key in ('lr', 'weight_decay') if key in inner}
    cfg.optim_wrapper.optimizer = ConfigDict(outer | dict(inner=inner) | rates)


def _with_pipelines(loader: dict) -> list[dict]:
    """All data sets of a loader that have a pipeline, the outer ones first."""
    return [node for node in walk(loader['dataset']) if isinstance(node.get('pipeline'), (list, tuple))]


def _load_otherwise(dataset: dict, arguments: dict) -> None:
    dataset['pipeline'] = [
        ConfigDict(step | arguments) if _is(step, ('LoadImage',)) else step for step in dataset['pipeline']]


def _edit(loader: dict, edit: dict, where: str) -> None:
    """Put steps into every pipeline of the loader that has the step which the edit names."""
    relation = next(key for key in WHERE if key in edit)
    put = _sized(edit['put'], loader, where)
    for dataset in _having(loader, edit[relation], where):
        index = _position(dataset, edit[relation])
        steps = list(dataset['pipeline'])
        steps[index + (relation == 'after'):index + (relation != 'before')] = map(ConfigDict, put)
        dataset['pipeline'] = steps


def _mix(loader: dict, steps: list[dict], where: str) -> None:
    """Put steps that take several images behind the size of images; what follows acts on their result."""
    put = [ConfigDict(step) for step in _sized(steps, loader, where)]
    if loader['dataset'].type == MIXED:
        outer = loader['dataset']
        index = next(i for i, step in enumerate(outer.pipeline) if _is(step, ROLES['flip'] + ROLES['pack']))
        outer.pipeline = [*outer.pipeline[:index], *put, *outer.pipeline[index:]]
        return
    rest: list[dict] = []
    for dataset in _having(loader, 'size', where):
        end = _position(dataset, 'size') + 1
        rest, dataset['pipeline'] = dataset['pipeline'][end:], dataset['pipeline'][:end]
    loader['dataset'] = ConfigDict(type=MIXED, dataset=loader['dataset'], pipeline=[*put, *rest])


def _is(step: dict, types: Sequence[str]) -> bool:
    return str(step.get('type')).rpartition('.')[2] in types


def _position(dataset: dict, role: str) -> int | None:
    return next((i for i, step in enumerate(dataset['pipeline']) if _is(step, ROLES[role])), None)


def _having(loader: dict, role: str, where: str) -> list[dict]:
    """The data sets of a loader in whose pipeline a step has the role."""
    sets = _with_pipelines(loader)
    if found := [dataset for dataset in sets if _position(dataset, role) is not None]:
        return found
    steps = ', '.join(str(step.get('type')) for dataset in sets for step in dataset['pipeline'])
    raise ConfigError(f'{where}: expected a step {" or ".join(ROLES[role])} in the pipeline, which has '
                      f'{steps or "none"}')


def _sized(node: object, loader: dict, where: str) -> object:
    """``node`` with the recipe's size in place of ``'{scale}'``, ``'{width}'`` and ``'{height}'``."""
    if isinstance(node, dict):
        return {key: _sized(value, loader, where) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(_sized(value, loader, where) for value in node)
    if not (isinstance(node, str) and (found := SIZE.fullmatch(node))):
        return node
    sizing = _having(loader, 'size', where)[-1]
    scale = sizing['pipeline'][_position(sizing, 'size')].get('scale')
    if not (isinstance(scale, (list, tuple)) and len(scale) == 2 and all(isinstance(side, int) for side in scale)):
        raise ConfigError(f'{where}: expected one size (width, height) in the step that sets it, got {scale}')
    width, height = (round(side * float(found[2] or 1)) for side in scale)
    return {'scale': (width, height), 'width': width, 'height': height}[found[1]]
