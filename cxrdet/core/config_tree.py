"""The dicts within a config, in the order in which they stand there; where it counts classes."""
from collections.abc import Iterable, Iterator
from functools import partial

DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
DATASET_KEYS = ('ann_file', 'data_prefix', 'data_root')
#: Keys that hold the number of classes of the data set.
COUNT_KEYS = ('num_classes', 'num_things_classes')

#: Subtrees of a model whose ``num_classes`` counts something else: a proposal network has one class, a backbone may
#: carry an unused classifier, a semantic head numbers the stuff of segmentation maps, a re-identification net persons.
#: The members of an ensemble were trained each with its own classes.
OTHER_COUNTS = frozenset((
    'backbone', 'rfp_backbone', 'teacher_backbone', 'shared_head', 'neck', 'rpn_head', 'semantic_head', 'reid',
    'language_model', 'text_encoder', 'target_generator', 'init_cfg', 'train_cfg', 'test_cfg', 'members'))


def walk(node: object) -> Iterator[dict]:
    """All dicts in ``node``, the outer ones first."""
    if isinstance(node, dict):
        yield node
        node = node.values()
    if isinstance(node, Iterable) and not isinstance(node, (str, bytes)):
        for child in node:
            yield from walk(child)


def place_of(wanted: object, node: object, place: str) -> str | None:
    """Where a dict or list stands below ``node``, itself at ``place``: ``'model.student.backbone'``, or None."""
    if node is wanted:
        return place
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    found = (place_of(wanted, child, f'{place}.{key}') for key, child in children)
    return next((one for one in found if one), None)


def datasets_of(loader: dict | None) -> list[dict]:
    """The innermost data sets of a dataloader config: those that no wrapper (RepeatDataset, …) stands around."""
    found = [node for node in walk((loader or {}).get('dataset', {})) if any(key in node for key in DATASET_KEYS)]
    return [node for node in found if not any(key in node for key in ('dataset', 'datasets'))]


def innermost(dataset: dict | None) -> dict:
    """The first data set within the wrappers that stand around it in a config; ``{}`` where there is none."""
    return leaves(dataset or {})[0]


def leaves(dataset) -> list:
    """The data sets inside wrappers (ConcatDataset, RepeatDataset …), of a config or built, in their order."""
    get = dataset.get if isinstance(dataset, dict) else partial(getattr, dataset)
    inner = get('datasets', None) or [get('dataset', None)]
    return [leaf for part in inner for leaf in leaves(part)] if inner[0] is not None else [dataset]
