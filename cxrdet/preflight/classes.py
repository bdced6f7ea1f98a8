"""Classes follow the data: names from the annotation file, ``num_classes`` everywhere in the model."""
import inspect
from collections.abc import Iterator, Sequence

from mmengine.config import Config
from mmengine.logging import print_log

from cxrdet.core.class_counts import COUNT_KEYS, OTHER_COUNTS
from cxrdet.core.errors import ConfigError, DataError
from cxrdet.preflight.arguments import takes
from cxrdet.preflight.data import leaves, named_classes
from cxrdet.preflight.types import Part, parts

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def follow_classes(cfg: Config, classes: Sequence[str] | None = None) -> tuple[str, ...] | None:
    """Write the class names into every data set of ``cfg`` and their number into the model; ``cfg`` is changed.

    Args:
        cfg: A checked config.
        classes: The names that a checkpoint was trained with. By default those that the training set's ``metainfo``
            names, or else those of its annotation file, in the file's order.

    Returns:
        The names, or ``None`` where no data set of the config tells its classes (``read_classes``): stock data sets
        carry a fixed list, and such a config is left alone.

    Raises:
        DataError: If the annotation file lacks a class that the config names, or training sets disagree.
        ConfigError: If a list of per-class weights cannot follow.
    """
    found = list(parts(cfg))
    sets = leaves(found, LOADERS)
    if not any(hasattr(part.found, 'read_classes') for part in sets) and (sets or classes is None):
        return None
    names = tuple(classes) if classes is not None else training_classes(sets)
    palette = next((part.cfg['metainfo']['palette'] for part in sets if 'palette' in (part.cfg.get('metainfo') or {})),
                   None)
    for part in sets:
        metainfo = dict(part.cfg.get('metainfo') or {})
        if palette is not None:
            metainfo.setdefault('palette', palette)
        part.cfg['metainfo'] = metainfo | {'classes': names}
    if 'teacher' in cfg.model and 'student' in cfg.model:
        cfg.model['classes'] = names  # by which a distilled model finds its teacher's scores
    changed = set_num_classes(found, cfg, len(names))
    print_log(f'{len(names)} classes ({", ".join(names)}): num_classes = {len(names)} in '
              f'{", ".join(changed) or "no part of the model"}', logger='current')
    return names


def training_classes(sets: Sequence[Part]) -> tuple[str, ...]:
    """The class names of the training sets among ``sets`` (of the others where none is for training)."""
    able = [part for part in sets if hasattr(part.found, 'read_classes')]
    training = [part for part in able if part.path.startswith('train_dataloader')] or able[:1]
    answers: dict[tuple[str, ...], str] = {}
    for part in training:
        answers.setdefault(tuple(part.found.read_classes(part.cfg)), part.path)
    if len(answers) > 1:
        listed = '; '.join(f'{path}: {", ".join(names)}' for names, path in answers.items())
        raise DataError(f'The training sets have different classes ({listed}). Name the classes and their order with '
                        'metainfo=dict(classes=[...]) in each of them.')
    return next(iter(answers))


def class_places(found: Sequence[Part], cfg: Config) -> Iterator[tuple[str, dict, str]]:
    """Where the model takes the number of classes: (path, dict, key), also where the config leaves the key out."""
    for part in found:
        top, *rest = part.path.split('.')
        if top == 'model' and not OTHER_COUNTS & set(rest):
            yield from ((part.path, part.cfg, key) for key in COUNT_KEYS if key in part.cfg or _counts(part, key))
        elif top in ('val_evaluator', 'test_evaluator') and isinstance(part.cfg.get('num_classes'), int):
            yield part.path, part.cfg, 'num_classes'
    for path, owner in (('data_preprocessor', cfg), ('model.data_preprocessor', cfg.model)):
        node = owner.get('data_preprocessor')
        if isinstance(node, dict) and _one_hot(node, cfg) and (path == 'data_preprocessor' or 'type' not in node):
            yield path, node, 'num_classes'


def _one_hot(node: dict, cfg: Config) -> bool:
    """Whether a preprocessor needs the number: it names one, or mixes images, for which labels become vectors."""
    mixes = (cfg.model.get('train_cfg') or {}).get('augments')  # where MMPretrain's configs put mixup and cutmix
    return 'num_classes' in node or bool(node.get('batch_augments') or node.get('to_onehot') or mixes)


def _counts(part: Part, key: str) -> bool:
    """Whether the class must be given ``key``, or has a number of its own for it (0, -1 and ``None`` mean "unused")."""
    if not callable(part.found):
        return False
    default = takes(part.found).defaults.get(key)
    return default is inspect.Parameter.empty or (type(default) is int and default > 0)


def set_num_classes(found: Sequence[Part], cfg: Config, number: int) -> list[str]:
    """Set the number of classes in every place of the model; the paths that were set."""
    changed = []
    for path, node, key in class_places(found, cfg):
        _set_class_weights(path, node, node.get(key), number)
        node[key] = number
        changed.append(path)
    return changed


def _set_class_weights(path: str, node: dict, old: int | None, number: int) -> None:
    """Lists of per-class weights in a head's losses follow: equal weights, and a last one for the background."""
    for name, loss in node.items():
        weights = loss.get('class_weight') if isinstance(loss, dict) else None
        if not isinstance(weights, (list, tuple)) or old is None or old == number:
            continue
        background = len(weights) - old
        if background not in (0, 1) or len(set(weights[:old])) > 1:
            raise ConfigError(f'{path}.{name}.class_weight: {len(weights)} weights for {old} classes, but the data has '
                              f'{number}: give {number} weights (and one for the background, if the loss has it).')
        loss['class_weight'] = [weights[0]] * number + list(weights[old:])


def class_count_problems(found: Sequence[Part], cfg: Config) -> list[str]:
    """Where a data set that cannot tell its classes is given a list of them that does not fit the model's numbers."""
    training = leaves(found, ['train_dataloader'])
    counts = {len(named_classes(part)) for part in training if named_classes(part)}
    if len(counts) != 1 or any(hasattr(part.found, 'read_classes') or part.cfg.get('return_classes')
                               for part in training):  # the latter: open vocabulary, the number bounds the prompt
        return []
    number = counts.pop()
    return [f'{path}.{key}: {node[key]}, but the training set names {number} classes'
            for path, node, key in class_places(found, cfg) if key in node and node[key] != number]
