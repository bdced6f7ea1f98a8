"""A data set of cell phantoms on disk, in COCO format."""
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from cxrdet.core.errors import ConfigError, check_numbers
from cxrdet.core.files import write_atomic, write_json
from cxrdet.core.folders import prepared_folder
from cxrdet.datasets.formats.coco import coco_annotation
from cxrdet.datasets.formats.images import image_bytes
from cxrdet.datasets.phantoms.cells import CELL_CLASSES, render_cells, sample_cells
from cxrdet.datasets.phantoms.optics import one_thread

CELL_VERSION = 3  # raise it whenever the same seed gives other images
SPLIT_KEYS = {'train': 0, 'val': 1, 'test': 2}


@one_thread()
def write_cell_phantoms(out_dir: str | Path, *, splits: dict[str, int] | None = None, size: int = 320, seed: int = 0,
                        force: bool = False, progress: Callable[[str, int, int], None] | None = None) -> Path:
    """Write a COCO set of cell phantoms: ``annotations/<split>.json``, ``images/<split>_<index>.jpg``,
    ``prepared.json``.

    Image k of a split depends on (seed, split, k, size) only. Re-running keeps finished images and adds missing ones.

    Args:
        out_dir: Folder of the set; made if it is not there.
        splits: Number of images by split; the names are among train, val, test. Default: train 200, val 50.
        size: Side of the images in pixels, at least 64.
        seed: Seed of the set, 0 or more.
        force: Replace another set in ``out_dir``.
        progress: Called with (split, done, total) after each image.

    Returns: ``out_dir``.

    Raises:
        ConfigError: If a split is unknown or a number is out of range.
        DataError: If the folder holds something else and ``force`` is not set.
    """
    out_dir = Path(out_dir)
    splits = {'train': 200, 'val': 50} if splits is None else dict(splits)
    for split, count in splits.items():
        if split not in SPLIT_KEYS:
            raise ConfigError(f'Unknown split "{split}". Expected: {", ".join(SPLIT_KEYS)}.')
        check_numbers('cell phantoms', **{split: (count, '[0, inf)')})
    check_numbers('cell phantoms', size=(size, '[64, 8192]'), seed=(seed, '[0, inf)'))
    manifest = {'kind': 'cell-phantom', 'version': CELL_VERSION, 'seed': seed, 'size': size, 'splits': splits}
    with prepared_folder(out_dir, manifest, force=force) as new:
        for split, count in splits.items():
            _write_split(new, split, count, size, seed, progress)
    return out_dir


def _write_split(out_dir: Path, split: str, count: int, size: int, seed: int, progress: Callable | None) -> None:
    images, annotations = [], []
    for index in range(count):
        rng = np.random.default_rng((seed, SPLIT_KEYS[split], index))
        scene = sample_cells(rng, size)  # cheap; the labels of a finished image come from here as well
        name = f'{split}_{index:05d}.jpg'
        path = out_dir / 'images' / name
        if not path.exists():
            image = cv2.cvtColor(render_cells(rng, scene), cv2.COLOR_RGB2BGR)
            data = image_bytes(image, path, '.jpg', cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(80, 96)))
            write_atomic(path, data, durable=False)
        images.append({'id': index + 1, 'file_name': name, 'width': size, 'height': size})
        for box, label in zip(*(array.tolist() for array in scene.targets())):
            annotations.append(coco_annotation(len(annotations) + 1, index + 1, label + 1, box))
        if progress is not None:
            progress(split, index + 1, count)
    categories = [{'id': number, 'name': name, 'supercategory': 'cell'} for number, name in enumerate(CELL_CLASSES, 1)]
    info = {'description': f'cxrdet cell phantoms, {split}', 'version': str(CELL_VERSION), 'seed': seed}
    write_json(out_dir / 'annotations' / f'{split}.json',
               {'info': info, 'licenses': [], 'images': images, 'annotations': annotations, 'categories': categories},
               indent=1)
