"""Reference images: read from a folder a class, or from a CSV, checked and chosen."""
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from mmengine.dataset import Compose
from torch import Tensor

from cxrdet.core.errors import ConfigError, DataError, did_you_mean
from cxrdet.datasets.formats.files import tell_missing
from cxrdet.datasets.formats.sets import read_set

HOW = ('Expected CLASS/NAME.png, or a CSV with the columns path and label; "cxrdet prepare-data references SET OUT" '
       'cuts both from a set with boxes.')


class ReferenceList(NamedTuple):
    """Which files show which class.

    Attributes:
        root: Their folder.
        files: Class -> paths relative to ``root``, in the order in which they are taken.
    """

    root: Path
    files: dict[str, list[str]]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.files)

    def as_dict(self) -> dict:
        """For a checkpoint: plain containers."""
        return {'root': str(self.root), 'files': {name: list(files) for name, files in self.files.items()}}


class ReferenceImages(NamedTuple):
    """Reference images in memory: (M, 3, size, size) uint8, blue first, and their labels (M,) int64."""

    images: Tensor
    labels: Tensor


def find_references(root: str | Path, classes: Sequence[str] | None = None, *, per_class: int = 3, every: bool = False,
                    seed: int = 0) -> ReferenceList:
    """The reference images in a folder: ``CLASS/NAME.png``, or as a CSV lists them (``cxrdet.CSVImageDataset``).

    Of a CSV with splits, only ``train`` is looked at. Images of other classes than ``classes`` are left alone.

    Args:
        root: The folder.
        classes: Names, in order; by default all that are there, sorted.
        per_class: Images that are taken of each class, chosen by ``seed``, 1 or more.
        every: Take all that there are; ``per_class`` is then the least number.

    Raises:
        DataError: There is no such folder or nothing in it, classes are missing or have too few images, or files are.
    """
    named, root = str(root), Path(root)
    if not named or not root.is_dir():  # an empty name would be the current folder
        raise DataError(f'{named or "(no name)"}: no such folder of reference images. {HOW}')
    found = _by_class(root)
    classes = tuple(sorted(found)) if classes is None else tuple(classes)
    faults = [f'class "{name}" has no reference image' for name in classes if name not in found]
    hints = ''.join(did_you_mean(name, set(found) - set(classes)) for name in classes if name not in found)
    faults += [f'class "{name}" has {len(found[name])} reference images, {per_class} are needed'
               for name in classes if name in found and len(found[name]) < per_class]
    if faults:
        raise DataError(f'{root}: {"; ".join(faults)}.{hints} There are {_told(found)}. Add images, or take fewer '
                        '(references.per_class, --per-class).')
    chosen = {}
    for name in classes:
        files = sorted(found[name])
        order = np.random.default_rng(seed).permutation(len(files))
        chosen[name] = [files[i] for i in (order if every else order[:per_class])]
    return ReferenceList(root, chosen)


def _by_class(root: Path) -> dict[str, list[str]]:
    """Class -> paths of its images below ``root``."""
    table = read_set(root)
    if table.kind not in ('csv', 'folder'):
        raise DataError(f'{root}: a set of the format "{table.kind}", no reference images. {HOW}')
    rows = range(len(table.names))
    if table.kind == 'csv':
        if any(table.splits):
            rows = [row for row in rows if table.splits[row] == 'train']
        tell_missing(table, rows)
        table.raise_errors()
        names = [table.classes[label] for label in np.asarray(table.labels).argmax(axis=1)]
    else:
        names = [Path(file).parent.name for file in table.files]
        astray = [file for file in table.files if Path(file).parent.parent != root]
        if astray:
            raise DataError(f'{astray[0]}: a reference image lies in the folder of its class, and this right below '
                            f'{root}. {HOW}')
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(names[row], []).append(_below(root, table.files[row]))
    return found


def _below(root: Path, file: str) -> str:
    """The name of a file relative to a folder; a CSV may tell absolute ones."""
    near = Path(os.path.abspath(file)).is_relative_to(os.path.abspath(root))
    find = os.path.abspath if near else os.path.realpath  # the file by another name of the folder
    return Path(os.path.relpath(find(file), find(root))).as_posix()


def _told(found: dict[str, list[str]]) -> str:
    return ', '.join(f'{name} ({len(files)})' for name, files in sorted(found.items())) or 'none'


def read_references(listed: ReferenceList, *, size: int = 224,
                    pipeline: Sequence[dict] | None = None) -> ReferenceImages:
    """Read reference images, each resized to ``size`` x ``size`` px whatever its shape, as published.

    Args:
        listed: From :func:`find_references`; labels go by the order of its classes.
        size: Side in pixels.
        pipeline: Steps that load an image into ``img``; by default ``cxrdet.LoadImage``. Give those of the training
            images where these do more, such as CLAHE.

    Raises:
        DataError: A file cannot be read; it is named.
        ConfigError: The pipeline gives no image.
    """
    load = Compose(list(pipeline or [dict(type='cxrdet.LoadImage')]))
    images, labels = [], []
    for label, (name, files) in enumerate(listed.files.items()):
        for file in files:
            results = load({'img_path': str(listed.root / file), 'img_id': 0})
            if not isinstance(results, dict) or getattr(results.get('img'), 'ndim', 0) != 3:
                raise ConfigError('references.pipeline: its steps must load an image (H, W, 3) into "img", and not '
                                  f'pack it; of {listed.root / file}, class "{name}", they gave '
                                  f'{type(results).__name__}.')
            image = results['img']
            shrinks = image.shape[0] >= size and image.shape[1] >= size
            image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
            images.append(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))))
            labels.append(label)
    return ReferenceImages(torch.stack(images), torch.tensor(labels))


def draw_references(labels: Tensor, per_class: int) -> Tensor:
    """Rows of ``per_class`` images of each class, drawn by torch's generator, which a run seeds: (C * per_class,)."""
    rows = [torch.nonzero(labels == label)[:, 0] for label in range(int(labels.max()) + 1)]
    return torch.cat([mine[torch.randperm(len(mine))[:per_class]] for mine in rows])
