"""No patient may stand on both sides of a split: what a model has seen of a patient makes its scores too good."""
from cxrdet.core.errors import CxrdetError
from cxrdet.core.splits import shared_groups
from cxrdet.preflight.arguments import unknown_arguments
from cxrdet.preflight.data import leaves
from cxrdet.preflight.types import Part

PAIRS = (('train', 'val', 'training', 'Its scores would be too good'),
         ('train', 'test', 'training', 'Its scores would be too good'),
         ('val', 'test', 'validation', 'The best checkpoint and its thresholds are chosen there, so that its scores '
                                       'would be too good'))


def group_problems(found: list[Part], mode: str) -> list[str]:
    """One line for each two of training, validation and test that share patients (or other groups), or images.

    Validation and test may be the very same images: then the config says that there is no other set for the test. Any
    data set class with ``read_groups(cfg)``, which returns image -> patient for the set that its config describes
    (``None`` for an unknown patient: such an image is looked for itself), is asked, and may say in ``SPLIT_HINT`` how
    its sets are kept apart; sets of different classes have nothing to do with each other. A test set that cannot be
    read is left out: a training run does not need it.

    Args:
        found: The parts of a config.
        mode: What the run does; only 'train' has two sides.
    """
    if mode != 'train':
        return []
    sides = {name: _images(found, f'{name}_dataloader') for name in ('train', 'val', 'test')}
    problems = []
    for one, other, known_as, why in PAIRS:
        for kind, images in sides[other].items():
            known = sides[one].get(kind, set())
            if one == 'val' and images == known:
                continue
            shared, text = _shared(one, known, other, images)
            if shared:
                listed = ', '.join(map(str, shared[:5])) + (', …' if len(shared) > 5 else '')
                hint = getattr(kind, 'SPLIT_HINT', '')
                problems.append(f'{other}_dataloader: {len(shared)} of its {text} are in the {known_as} set as well: '
                                f'{listed}. {why}: give it images of other patients.{hint and " "}{hint}')
    return problems


def _shared(one: str, known: set, other: str, images: set) -> tuple[list, str]:
    """Patients on both sides and what they are among, or, if there are none, images of unknown patients."""
    patients = _patients(images)
    shared = shared_groups({one: _patients(known), other: patients}).get((one, other), [])
    if shared:
        return shared, f'{len(patients)} patients (groups)'
    unknown = {image for image, group in known | images if group is None}
    sides = {one: {image for image, _ in known} & unknown, other: {image for image, _ in images} & unknown}
    return shared_groups(sides).get((one, other), []), f'{len(images)} images'


def _images(found: list[Part], loader: str) -> dict[type, set]:
    """Data set class -> (image, group) of all sets of that class in a loader."""
    images: dict[type, set] = {}
    for part in leaves(found, [loader]):
        if hasattr(part.found, 'read_groups') and not unknown_arguments(part):
            try:
                read = part.found.read_groups(part.cfg)
            except CxrdetError:
                continue  # told by the check of files, where the run needs this set
            images.setdefault(part.found, set()).update(read.items())
    return images


def _patients(images: set) -> set:
    return {group for _, group in images if group is not None}
