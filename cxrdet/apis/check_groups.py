"""No patient may stand on both sides of a split: what a model has seen of a patient makes its scores too good."""
from cxrdet.apis.check_args import unknown_arguments
from cxrdet.apis.check_data import leaves
from cxrdet.apis.check_types import Part
from cxrdet.core.errors import CxrdetError
from cxrdet.core.splits import shared_groups


def group_problems(found: list[Part], mode: str) -> list[str]:
    """One line for each of validation and test whose patients (or other groups) training has, too.

    Any data set class with ``read_groups(cfg)``, which returns image -> patient for the set that its config describes
    (``None`` for an unknown patient), is asked; sets of different classes have nothing to do with each other. A test
    set that cannot be read is left out: a training run does not need it.

    Args:
        found: The parts of a config.
        mode: What the run does; only 'train' has two sides.
    """
    if mode != 'train':
        return []
    sides = {name: _groups(found, f'{name}_dataloader') for name in ('train', 'val', 'test')}
    problems = []
    for other in ('val', 'test'):
        for kind, groups in sides[other].items():
            shared = shared_groups({'train': sides['train'].get(kind, ()), other: groups}).get(('train', other), [])
            if shared:
                listed = ', '.join(map(str, shared[:5])) + (', …' if len(shared) > 5 else '')
                problems.append(
                    f'{other}_dataloader: {len(shared)} of its {len(groups)} patients (groups) are in the training set '
                    f'as well: {listed}. Its scores would be too good: give it films of other patients. '
                    '"python tools/prepare_data.py nih" splits by patient.')
    return problems


def _groups(found: list[Part], loader: str) -> dict[type, set]:
    """Data set class -> the groups of all sets of that class in a loader."""
    groups: dict[type, set] = {}
    for part in leaves(found, [loader]):
        if hasattr(part.found, 'read_groups') and not unknown_arguments(part):
            try:
                read = part.found.read_groups(part.cfg)
            except CxrdetError:
                continue  # told by the check of files, where the run needs this set
            groups.setdefault(part.found, set()).update(group for group in read.values() if group is not None)
    return groups
