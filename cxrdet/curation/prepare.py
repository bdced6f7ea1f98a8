"""Making data sets: phantoms, and the set of the Comparison detector; others: :mod:`cxrdet.curation.convert`.

Each function may be run again: what it did not write itself is neither replaced nor deleted. They return numbers to
report; progress goes to stderr.
"""
import os
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from cxrdet.core.errors import ConfigError, DataError, did_you_mean
from cxrdet.core.files import write_json
from cxrdet.core.folders import OutputFolder
from cxrdet.core.issues import DataTable
from cxrdet.core.progress import ProgressBar
from cxrdet.curation.set_writers import coco_content, place_images
from cxrdet.datasets.formats import coco, tfrecord
from cxrdet.datasets.formats.files import tell_missing, tell_outside
from cxrdet.datasets.formats.table_builder import measured, tell_other_sizes
from cxrdet.datasets.formats.tfrecord import CDETECTOR_CLASSES
from cxrdet.datasets.phantoms import write_cell_phantoms, write_chest_phantoms


def prepare_cell_phantoms(out_dir: str | Path, *, splits: dict[str, int], size: int = 320, seed: int = 0,
                          force: bool = False) -> dict[str, int]:
    """Write a COCO set of made-up cells, see :func:`write_cell_phantoms`; returns the number of images by split."""
    write_cell_phantoms(out_dir, splits=splits, size=size, seed=seed, force=force, progress=ProgressBar())
    return dict(splits)


def prepare_chest_phantoms(out_dir: str | Path, *, num_images: int = 1000, size: int = 256, seed: int = 0,
                           force: bool = False) -> dict[str, int]:
    """Write made-up chest films, see :func:`write_chest_phantoms`; returns the number of images by split."""
    write_chest_phantoms(out_dir, num_images=num_images, size=size, seed=seed, force=force, progress=ProgressBar())
    lists = {'train_val': 'train_val_list.txt', 'test': 'test_list.txt'}
    return {split: len((Path(out_dir) / name).read_text().split()) for split, name in lists.items()}


def prepare_cdetector(sources: Sequence[str | Path], out_dir: str | Path, *, split: str,
                      image_dir: str | Path | None = None, suffix: str = '.png',
                      link: bool = False) -> dict[str, int]:
    """Make one split of the Comparison detector's cervical cell set, from TFRecord files or from its COCO JSON.

    All is checked, also the 11 classes, and written to ``annotations/<split>.json`` and ``images/<split>/``. Boxes stay
    as they are stored, degenerate ones too: the reader of the set counts and drops them.

    Args:
        sources: TFRecord files, or one ``.json``.
        out_dir: Folder of the set; splits are added one by one.
        split: 'train', 'test' …; a plain name.
        image_dir: Where the images of a JSON file are; by default the folder ``images`` beside it or beside its
            folder, else the file's own folder.
        suffix: For TFRecord files: '.png' keeps the pixels exactly, '.jpg' (quality 95) takes a sixth of the room.
        link: For a JSON file: symbolic links instead of copies.

    Returns:
        Number of images, boxes and boxes by class.

    Raises:
        DataError: A file is missing or defective, a class is missing, unknown or misspelt, two images have one name, or
            the split is there and not ours.
        ConfigError: An argument has a value that cannot be meant.
    """
    sources = [Path(source) for source in sources]
    published = any(source.suffix.lower() == '.json' for source in sources)
    if not sources or (published and len(sources) > 1):
        raise ConfigError('cdetector takes one COCO file (.json), or one or more TFRecord files, got '
                          f'{", ".join(map(str, sources)) or "nothing"}.')
    if not split.replace('-', '_').isidentifier():
        raise ConfigError(f'split must be a plain name such as "train", got {split!r}.')
    if suffix not in ('.png', '.jpg'):
        raise ConfigError(f'suffix must be ".png" or ".jpg", got {suffix!r}.')
    table, names, content = _read_published(sources[0], image_dir) if published else _read_records(sources, suffix)
    content['info'] = {'description': f'Comparison detector, {split}, checked copy'}
    made_from = {'kind': 'cdetector', 'source': str(sources[0].resolve()), 'link': link} if published else None
    results = OutputFolder(out_dir, f'prepare_data.{split}', names=(f'annotations/{split}.json', f'images/{split}'),
                           inputs=[*sources, *(table.files if published else ())], made_from=made_from, force=True)
    for entry, name in zip(content['images'], names):
        entry['file_name'] = f'{split}/{name}'
    with results as new:
        place_images(table, range(len(names)), new / 'images' / split, names, link=link, keep=True,
                     progress=partial(ProgressBar(), split))
        write_json(new / 'annotations' / f'{split}.json', content)
    return count_boxes(content)


def _read_records(sources: list[Path], suffix: str) -> tuple[DataTable, list[str], dict]:
    table = tfrecord.read(sources[0], files=sources)
    table.raise_errors()
    if '' in table.names:
        place = table.places[table.names.index('')]
        raise DataError(f'{place.file}: {place.row}: the image has no name.')
    names = [os.path.splitext(name)[0] + suffix for name in table.names]
    boxes = enumerate(table.box_label.tolist())
    return table, names, coco_content(table, range(len(names)), names, boxes, CDETECTOR_CLASSES)


def _read_published(source: Path, image_dir: str | Path | None) -> tuple[DataTable, list[str], dict]:
    folder = coco.image_folder(source) if image_dir is None else Path(image_dir)
    if not folder.is_dir():
        raise DataError(f'{folder}: no such folder of images.')
    table = coco.read(source, folder)
    tell_outside(table, [folder])
    tell_missing(table, range(len(table.names)))
    tell_other_sizes(table, range(len(table.names)))
    table.raise_errors()
    for name in table.classes:
        if name not in CDETECTOR_CLASSES:
            raise DataError(f'{source}: unknown class "{name}".{did_you_mean(name, CDETECTOR_CLASSES)} The 11 classes '
                            f'are {", ".join(CDETECTOR_CLASSES)}.')
    missing = [name for name in CDETECTOR_CLASSES if name not in table.classes]
    if missing:
        raise DataError(f'{source}: the categories lack {", ".join(missing)}; expected all 11 classes of the set.')
    return table, table.names, _in_known_order(table)


def _in_known_order(table: DataTable) -> dict:
    content, = table.source.values()
    order = [CDETECTOR_CLASSES.index(name) + 1 for name in table.classes]
    rows = np.argsort(table.box_image, kind='stable').tolist()
    annotations = [dict(table.box_entries[row], category_id=order[table.box_label[row]]) for row in rows]
    categories = [{'id': number, 'name': name} for number, name in enumerate(CDETECTOR_CLASSES, 1)]
    images = [dict(entry, height=height, width=width) for entry, (height, width) in zip(
        content['images'], map(measured, table.files))]
    return {'annotations': annotations, 'images': images, 'categories': categories}


def count_boxes(coco: dict) -> dict[str, int]:
    """Number of images, of boxes, and of boxes by class in the content of a COCO file."""
    names = {entry['id']: entry['name'] for entry in coco['categories']}
    per_class = Counter(names[item['category_id']] for item in coco['annotations'])
    return {'images': len(coco['images']), 'boxes': len(coco['annotations'])} | {
        name: per_class[name] for name in names.values()}
