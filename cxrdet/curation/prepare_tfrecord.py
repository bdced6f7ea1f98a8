"""TFRecord files of the Comparison detector, converted to a COCO set."""
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.folders import OutputFolder
from cxrdet.core.paths import join_inside
from cxrdet.datasets.cell_classes import CDETECTOR_CLASSES
from cxrdet.datasets.formats.coco import coco_annotation, write_json
from cxrdet.datasets.formats.tfrecord import CDetectorExample, read_cdetector

__all__ = ['convert_cdetector']

IMAGE_SUFFIXES = ('.png', '.jpg')


def convert_cdetector(tfrecords: Iterable[str | Path], out_dir: str | Path, split: str, *, suffix: str = '.png',
                      progress: Callable[[Iterator], Iterable] = iter) -> dict[str, int]:
    """Convert TFRecord files to a COCO set: ``annotations/<split>.json`` and ``images/<split>/*``.

    All or nothing: a run that fails leaves what was there before, and a run may be repeated; files that were not
    written here are neither replaced nor deleted. Boxes are written as they are stored (degenerate ones too: the
    reader of the set counts and drops them), as x, y, width, height with width = xmax - xmin + 1.

    Args:
        tfrecords: the files, read in this order.
        out_dir: folder of the set; ``data_root`` in a config.
        split: ``'train'``, ``'test'`` …; a plain name.
        suffix: ``'.png'`` keeps the pixels exactly; ``'.jpg'`` (quality 95) takes about a sixth of the room.
        progress: wraps the iterator over the examples, to show a progress bar.

    Returns:
        Numbers of ``images``, ``boxes`` and of the boxes of each class.

    Raises:
        DataError: as :func:`read_cdetector`; two images have one name; ``images/<split>`` or
            ``annotations/<split>.json`` is there and not ours to replace; or there is no image at all.
        ConfigError: ``split`` or ``suffix`` cannot be meant.
    """
    if not re.fullmatch(r'[\w-]+', split):
        raise ConfigError(f'split must be a plain name such as "train", got {split!r}.')
    if suffix not in IMAGE_SUFFIXES:
        raise ConfigError(f'suffix must be ".png" or ".jpg", got {suffix!r}.')
    tfrecords = list(tfrecords)
    results = OutputFolder(out_dir, f'prepare_data.{split}', names=(f'annotations/{split}.json', f'images/{split}'),
                           inputs=tfrecords)
    coco = {'info': {'description': f'Comparison detector, {split}, converted from TFRecord'}, 'images': [],
            'annotations': [], 'categories': [{'id': number, 'name': name}
                                              for number, name in enumerate(CDETECTOR_CLASSES, 1)]}
    with results as new:
        examples = (example for path in tfrecords for example in read_cdetector(path))
        names: set[str] = set()
        for example in progress(examples):
            _write_example(example, coco, new / 'images' / split, split, suffix, names)
        if not names:
            raise DataError(f'{out_dir}: no image to convert for the split "{split}"; the list of files is empty.')
        write_json(new / 'annotations' / f'{split}.json', coco)
    labels = np.bincount([item['category_id'] - 1 for item in coco['annotations']], minlength=len(CDETECTOR_CLASSES))
    return {'images': len(coco['images']), 'boxes': len(coco['annotations']),
            **dict(zip(CDETECTOR_CLASSES, labels.tolist()))}


def _write_example(example: CDetectorExample, coco: dict, folder: Path, split: str, suffix: str, names: set) -> None:
    name = Path(re.split(r'[/\\]', example.name)[-1]).stem + suffix  # a name from a file gets no say about folders
    if name in names or name == suffix:
        raise DataError(f'two images (or one without a name) want the file {split}/{name}: "{example.name}".')
    names.add(name)
    done, data = cv2.imencode(suffix, cv2.cvtColor(example.image, cv2.COLOR_RGB2BGR))
    if not done:
        raise DataError(f'"{example.name}": cannot encode {example.image.shape} pixels as {suffix}.')
    path = join_inside(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())
    height, width = example.image.shape[:2]
    image_id = len(coco['images']) + 1
    coco['images'].append({'id': image_id, 'file_name': f'{split}/{name}', 'height': height, 'width': width})
    for box, label in zip(example.boxes.tolist(), example.labels.tolist()):
        coco['annotations'].append(coco_annotation(len(coco['annotations']) + 1, image_id, label + 1, box))
