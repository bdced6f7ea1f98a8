"""Other reference images, or other classes, for a trained detector: its checkpoint with other prototypes."""
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from cxrdet.checkpoints.checkpoint import Checkpoint, install_safe_loader, packed
from cxrdet.core.errors import CheckpointError, ConfigError, check_numbers, did_you_mean
from cxrdet.core.files import write_atomic
from cxrdet.engine.process import build_model, pick_device
from cxrdet.preflight.check import check_config, set_classes
from cxrdet.preflight.config import load_config

from .detector import ComparisonDetector
from .references import find_references

_OF_TRAINING = ('optimizer', 'param_schedulers', 'message_hub', 'ema_state_dict', 'gradients', 'interrupted')


def adapt(config: Config | str | Path, checkpoint: str | Path, out: str | Path, *,
          references: str | Path | None = None, rename: Mapping[str, str] | None = None,
          per_class: int | None = None, device: str = 'auto') -> dict[str, str]:
    """Write a checkpoint whose prototypes come from other reference images, without training.

    Classes that have images in ``references`` get prototypes from these, the others keep theirs; classes that the model
    did not know come behind its own. The result predicts with the same config, and no run can be resumed from it.

    Args:
        config, checkpoint: Of a trained :class:`ComparisonDetector`.
        out: The new file; one that is there is not replaced.
        references: Folder of images (:func:`find_references`); None: classes are renamed only.
        rename: Old name -> new name. Images of ``references`` go by the new names.
        per_class: Images of each class, chosen by the config's seed; None: all that there are, or, where the config
            has ``per_image`` prototypes, their number.
        device: As for :func:`cxrdet.apis.predict`.

    Returns: class -> 'kept', 'exchanged' or 'added', in the order of the labels.

    Raises:
        ConfigError: The model does not compare, the names do not fit, a class would be added whose name differs from
            another in case only, or it cannot take more classes: boxes per class or a background bound to their number.
        DataError, CheckpointError: References or checkpoint cannot be used.
    """
    if Path(out).exists():
        raise ConfigError(f'{out}: the new checkpoint would take the place of this file. Give another name, or remove '
                          'it before.')
    if per_class is not None:
        check_numbers('adapt', per_class=(per_class, '[1, inf)'))
    cfg = load_config(config) if not isinstance(config, Config) else config
    install_safe_loader()
    read = Checkpoint.read(checkpoint)
    old = read.needed_classes
    names = _renamed(old, rename or {})
    known_files = _files(checkpoint, read.meta, old, names)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet')):
        set_classes(check_config(cfg), old)
        if (model_type := str(cfg.model.type).rpartition('.')[2]) != ComparisonDetector.__name__:
            raise ConfigError(f'model.type is {model_type}; adapting is for cxrdet.ComparisonDetector.')
        model, _ = build_model(cfg, read, pick_device(device))
    meta, weights = dict(read.meta), dict(read.weights)
    classes, files = list(names), known_files
    told = dict.fromkeys(names, 'kept')
    if references is not None:
        per_image = max(head.fc_cls.per_image for head in model.heads)
        if per_image and per_class not in (None, per_image):
            raise ConfigError(f'per_class is {per_class}, but the model has a prototype for each of {per_image} images '
                              'of a class (bbox_head.per_image). Leave it out (--per-class).')
        every = per_class is None and not per_image
        listed = find_references(references, per_class=per_image or per_class or 1, every=every,
                                 seed=model.references['seed'])
        added = [name for name in listed.classes if name not in names]
        _check_added(references, added, names, rename or {})
        _check_room(model, added, names)
        classes += added
        told = {name: 'added' if name in added else 'exchanged' if name in listed.classes else 'kept'
                for name in classes}
        _put(model, weights, listed, classes)
        files |= {name: [str(listed.root / file) for file in chosen] for name, chosen in listed.files.items()}
    meta['dataset_meta'] = {**meta.get('dataset_meta', {}), 'classes': tuple(classes)}
    meta['dataset_meta'].pop('palette', None)  # has a colour for each old class
    meta['references'] = {'root': '', 'files': files}  # of several folders
    meta['adapted_from'] = str(checkpoint)
    content = {key: value for key, value in read.content.items() if key not in _OF_TRAINING}
    write_atomic(out, packed(content | {'meta': meta, 'state_dict': weights}))
    return {name: told[name] for name in classes}


def parse_renames(pairs: Sequence[str]) -> dict[str, str]:
    """``['OLD=NEW', …]`` as a dict; ConfigError for anything else."""
    found = {}
    for pair in pairs:
        match = re.fullmatch(r'([^=]+)=([^=]+)', pair)
        if match is None or match[1] in found:
            raise ConfigError(f'--rename takes OLD=NEW, each old name once, got "{pair}".')
        found[match[1]] = match[2]
    return found


def _renamed(old: Sequence[str], rename: Mapping[str, str]) -> tuple[str, ...]:
    for name in rename:
        if name not in old:
            raise ConfigError(f'--rename: the model has no class "{name}".{did_you_mean(name, old)} It has '
                              f'{", ".join(old)}.')
    names = tuple(rename.get(name, name) for name in old)
    odd = next((name for name in rename.values() if name != name.strip() or not name), None)
    if odd is not None:
        raise ConfigError(f'--rename: a class is not called {odd!r}: give a name without spaces around it.')
    for name in rename.values():
        if alike := [other for other in names if other.casefold() == name.casefold() and other != name]:
            raise ConfigError(f'--rename: {name} and {alike[0]} would differ in case only. Give another name.')
    if len(set(names)) < len(names):
        raise ConfigError(f'--rename: two classes would have one name: {", ".join(names)}.')
    return names


def _files(checkpoint: str | Path, meta: dict, old: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    """New name -> reference files that the checkpoint tells, with their folder."""
    try:
        told = meta.get('references') or {}
        root, files = Path(told.get('root', '')), told.get('files', {})
        return {new: [str(root / file) for file in files.get(name, ())] for name, new in zip(old, names)}
    except (AttributeError, TypeError):
        raise CheckpointError(f'{checkpoint}: meta.references is not as training writes it: expected the folder "root" '
                              'and in "files" a list for each class. Use a checkpoint as training writes it.') from None


def _check_added(references: str | Path, added: Sequence[str], names: Sequence[str], rename: Mapping[str, str]) -> None:
    """Refuse references of a class that is not new but called in another way."""
    for name in added:
        if name in rename:
            raise ConfigError(f'{references}: images of "{name}", which --rename calls "{rename[name]}". Images go by '
                              'the new names: rename their folder, or the class in their CSV.')
        if alike := [known for known in names if known.casefold() == name.casefold()]:
            raise ConfigError(f'{references}: images of "{name}", but the model has "{alike[0]}". Spell it alike, or '
                              f'rename the class (--rename {alike[0]}={name}).')


def _check_room(model: ComparisonDetector, added: Sequence[str], names: Sequence[str]) -> None:
    for head in model.heads if added else ():
        if not head.reg_class_agnostic:
            raise ConfigError(f'{", ".join(added)} cannot be added to {", ".join(names)}: the model has boxes of its '
                              'own for each class. Train with bbox_head.reg_class_agnostic=True.')
        if head.fc_cls.background == 'stacked':
            raise ConfigError(f'{", ".join(added)} cannot be added to {", ".join(names)}: the background is a '
                              'convolution over the prototypes of all classes. Train with bbox_head.background="mean" '
                              'or "free".')


def _put(model: ComparisonDetector, weights: dict, listed, classes: Sequence[str]) -> None:
    """Set the prototypes of the listed classes in a state dict; there is one place for each of ``classes``."""
    model.take_references(listed)
    fresh = model.computed_prototypes()
    for name, value in fresh.items():
        value = value.cpu()
        old = weights[name].cpu()
        each = len(value) // len(listed.classes)  # prototypes of a class
        new = torch.zeros(len(classes) * each, *old.shape[1:], dtype=old.dtype)
        if value.shape[1:] != old.shape[1:] or len(old) % each:
            raise CheckpointError(f'{name}: prototypes of shape {tuple(old.shape)} in the checkpoint, '
                                  f'{tuple(value.shape)} from the references.')
        new[:len(old)] = old
        for row, label in enumerate(classes.index(known) for known in listed.classes):
            new[label * each:(label + 1) * each] = value[row * each:(row + 1) * each].to(old.dtype)
        weights[name] = new
