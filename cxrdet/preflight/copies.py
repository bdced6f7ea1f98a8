"""No image may stand on both sides of a split under two names: patients are not known everywhere, files are."""
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from mmengine.config import Config

from cxrdet.core.equal_files import equal_files
from cxrdet.core.errors import CxrdetError
from cxrdet.datasets.formats.record_images import read_record_image
from cxrdet.preflight.arguments import unknown_arguments
from cxrdet.preflight.data import coco_images, leaves
from cxrdet.preflight.groups import PAIRS
from cxrdet.preflight.types import Part

ACCEPT = 'allow_shared_images'


def copy_problems(found: list[Part], cfg: Config, mode: str) -> list[str]:
    """One line for each two of training, validation and test that share image files, by content.

    As for patients, validation and test may be the very same images, which are looked at once. A set that cannot be
    read is left out here.

    Args:
        found: The parts of a config.
        cfg: The config; ``allow_shared_images = True`` in it accepts all of that.
        mode: What the run does; only 'train' has two sides.
    """
    if mode != 'train' or cfg.get(ACCEPT):
        return []
    sides = {name: _files(found, f'{name}_dataloader') for name in ('train', 'val', 'test')}
    problems = []
    if cfg.get('val_cfg') is None:
        sides['val'] = []
    for one, other, known_as, why in PAIRS:
        if other == 'test' and sides['test'] == sides['val']:
            continue
        keys = [_record_keys(found, f'{name}_dataloader') for name in (one, other)]
        pairs = equal_files(sides[one], sides[other]) or _equal_records(*keys)
        if pairs:
            listed = ', '.join(_shown(*pair) for pair in pairs[:5]) + (', …' if len(pairs) > 5 else '')
            total = max(len(sides[other]), len(keys[1]))
            problems.append(f'{other}_dataloader: {len(pairs)} of its {total} images are in the {known_as} '
                            f'set as well, byte by byte: {listed}. {why}: take them out of one set, or, if that is '
                            f'meant, accept it with {ACCEPT} = True in the config (--cfg-options {ACCEPT}=True).')
    return problems


def _record_keys(found: list[Part], loader: str) -> dict[str, str]:
    """Key -> path of the images that lie in TFRecord files."""
    keys: dict[str, str] = {}
    for part in leaves(found, [loader]):
        if hasattr(part.found, 'image_keys') and not unknown_arguments(part):
            try:
                keys |= part.found.image_keys(part.cfg)
            except CxrdetError:
                continue  # told by the check of files
    return keys


def _equal_records(one: dict[str, str], other: dict[str, str]) -> list[tuple[str, str]]:
    """Pairs of images of TFRecord files with the same pixels."""
    return [(one[key], path) for key, path in other.items()
            if key in one and np.array_equal(read_record_image(one[key]), read_record_image(path))]


def _shown(one: str, other: str) -> str:
    return other if one == other else f'{other} = {one}'


def _files(found: list[Part], loader: str) -> list[str]:
    return sorted({str(path) for part in leaves(found, [loader]) if not unknown_arguments(part)
                   for path in _files_of(part)})


def _files_of(part: Part) -> Iterable[str | Path]:
    try:
        if hasattr(part.found, 'image_files'):
            return part.found.image_files(part.cfg)
        return coco_images(part)
    except CxrdetError:
        return []  # told by the check of files, where the run needs this set
