"""Making data sets: phantoms, and the set of the Comparison detector; others: :mod:`cxrdet.curation.convert`.

Each function may be run again: finished files are kept, what is missing is added, and what the function did not write
itself is neither replaced nor deleted. They return numbers to report; progress goes to stderr.
"""
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrdet.core.errors import ConfigError, DataError, did_you_mean
from cxrdet.core.files import write_atomic
from cxrdet.core.folders import OutputFolder
from cxrdet.core.issues import DataTable
from cxrdet.core.paths import join_inside, name_fault
from cxrdet.core.progress import TimedProgressBar, bar_around
from cxrdet.curation.prepare_tfrecord import convert_cdetector
from cxrdet.datasets.cell import CDETECTOR_CLASSES
from cxrdet.datasets.formats import coco
from cxrdet.datasets.formats.coco import write_json
from cxrdet.datasets.phantoms import write_cell_phantoms, write_chest_phantoms
from cxrdet.datasets.transforms.loading import read_image_size


def prepare_cell_phantoms(out_dir: str | Path, *, splits: dict[str, int], size: int = 320, seed: int = 0,
                          force: bool = False) -> dict[str, int]:
    """Write a COCO set of made-up cells; see :func:`cxrdet.datasets.phantoms.write_cell_phantoms`.

    Returns:
        Number of images by split.
    """
    write_cell_phantoms(out_dir, splits=splits, size=size, seed=seed, force=force, progress=TimedProgressBar())
    return dict(splits)


def prepare_chest_phantoms(out_dir: str | Path, *, num_images: int = 1000, size: int = 256, seed: int = 0,
                           force: bool = False) -> dict[str, int]:
    """Write made-up chest films as NIH ChestX-ray14; see :func:`cxrdet.datasets.phantoms.write_chest_phantoms`.

    Returns:
        Number of images by split.
    """
    write_chest_phantoms(out_dir, num_images=num_images, size=size, seed=seed, force=force, progress=TimedProgressBar())
    lists = {'train_val': 'train_val_list.txt', 'test': 'test_list.txt'}
    return {split: len((Path(out_dir) / name).read_text().split()) for split, name in lists.items()}


def prepare_cdetector(sources: Sequence[str | Path], out_dir: str | Path, *, split: str,
                      image_dir: str | Path | None = None, suffix: str = '.png',
                      link: bool = False) -> dict[str, int]:
    """Make one split of the Comparison detector's cervical cell set, from TFRecord files or from its COCO JSON.

    A JSON file is checked (structure, the 11 classes, every image there and of the size that is stated) and written
    anew with its images in ``images/<split>/``; TFRecord files go through
    :func:`cxrdet.curation.prepare_tfrecord.convert_cdetector`.

    Args:
        sources: TFRecord files, or one ``.json``.
        out_dir: Folder of the set; splits are added one by one.
        split: 'train', 'test' …; a plain name.
        image_dir: Where the images of a JSON file are; by default the folder ``images`` beside it or beside its
            folder, else the file's own folder.
        suffix: '.png' or '.jpg', for TFRecord files.
        link: For a JSON file: symbolic links instead of copies.

    Returns:
        Number of images, boxes and boxes by class.

    Raises:
        DataError: A file is missing or defective, a class is missing, unknown or misspelt, or the split is there and
            not ours.
        ConfigError: An argument has a value that cannot be meant.
    """
    sources = [Path(source) for source in sources]
    jsons = [source for source in sources if source.suffix.lower() == '.json']
    if not sources or (jsons and len(sources) > 1):
        raise ConfigError('cdetector takes one COCO file (.json), or one or more TFRecord files, got '
                          f'{", ".join(map(str, sources)) or "nothing"}.')
    if not split.replace('-', '_').isidentifier():
        raise ConfigError(f'split must be a plain name such as "train", got {split!r}.')
    if not jsons:
        return convert_cdetector(sources, out_dir, split, suffix=suffix, progress=bar_around)
    return _copy_cdetector(jsons[0], Path(out_dir), split, image_dir, link)


# ------------------------------------------------------------------------------------------------- Comparison detector

def _copy_cdetector(source: Path, out_dir: Path, split: str, image_dir: str | Path | None,
                    link: bool) -> dict[str, int]:
    """Check a published COCO file and write it anew, with classes in the known order, beside its images."""
    folder = coco.image_folder(source) if image_dir is None else Path(image_dir)
    if not folder.is_dir():
        raise DataError(f'{folder}: no such folder of images.')
    table = coco.read(source, folder)
    table.raise_errors()
    for name in table.classes:
        if name not in CDETECTOR_CLASSES:
            raise DataError(f'{source}: unknown class "{name}".{did_you_mean(name, CDETECTOR_CLASSES)} The 11 classes '
                            f'are {", ".join(CDETECTOR_CLASSES)}.')
    missing = [name for name in CDETECTOR_CLASSES if name not in table.classes]
    if missing:
        raise DataError(f'{source}: the categories lack {", ".join(missing)}; expected all 11 classes of the set.')
    check_images(table.names, table.files, str(source))
    results = OutputFolder(out_dir, f'prepare_data.{split}', names=(f'annotations/{split}.json', f'images/{split}'),
                           inputs=[source, *table.files], force=True,
                           made_from={'kind': 'cdetector', 'source': str(source.resolve()), 'link': link})
    content = _in_known_order(table, split)
    with results as new:
        bar = TimedProgressBar()
        for done, (name, path, stated) in enumerate(zip(table.names, table.files, table.sizes), 1):
            size = np.array(read_image_size(path))
            if (stated != size)[np.isfinite(stated)].any():
                raise DataError(f'{source}: "{name}" is stated to be {stated[1]:g}x{stated[0]:g} pixels, {path} has '
                                f'{size[1]}x{size[0]}.')
            place_image(Path(path), join_inside(new / 'images' / split, name, renamed=True), link)
            content['images'][done - 1] |= {'file_name': f'{split}/{name}', 'height': int(size[0]),
                                            'width': int(size[1])}
            bar(split, done, len(table.names))
        write_json(new / 'annotations' / f'{split}.json', content)
    return count_boxes(content)


def _in_known_order(table: DataTable, split: str) -> dict:
    """The file with category ids in the order of the set's description."""
    content, = table.source.values()
    order = [CDETECTOR_CLASSES.index(name) + 1 for name in table.classes]
    rows = np.argsort(table.box_image, kind='stable').tolist()
    annotations = [dict(table.box_entries[row], category_id=order[table.box_label[row]]) for row in rows]
    categories = [{'id': number, 'name': name} for number, name in enumerate(CDETECTOR_CLASSES, 1)]
    return {'info': {'description': f'Comparison detector, {split}, checked copy'}, 'annotations': annotations,
            'images': [dict(entry) for entry in content['images']], 'categories': categories}


# ------------------------------------------------------------------------------------------------- files

def check_images(names: Sequence[str], files: Sequence[str | Path], named_in: str) -> None:
    """Raise DataError if images are missing, two have one name, or a name leaves its folder."""
    outside = [name for name in names if name_fault(name)]
    if outside:
        raise DataError(f'{named_in} names images outside the folder of images: {", ".join(map(repr, outside[:5]))}.')
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        raise DataError(f'{named_in} names {len(twice)} images more than once: {", ".join(twice[:5])}.')
    missing = [str(file) for file in files if not Path(file).is_file()]
    if missing:
        raise DataError(f'{len(missing)} of the {len(names)} images that {named_in} names are not there: '
                        f'{", ".join(missing[:5])}{", …" if len(missing) > 5 else ""}.')


def place_image(source: Path, target: Path, link: bool) -> None:
    """Copy or link an image unless the same one is there already."""
    if link:
        if target.is_symlink() and target.resolve() == source.resolve():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.symlink_to(source.resolve())
        return
    there = target.stat() if target.is_file() and not target.is_symlink() else None
    given = source.stat()
    if there and (there.st_size, int(there.st_mtime)) == (given.st_size, int(given.st_mtime)):
        return
    if target.is_symlink():
        target.unlink()
    write_atomic(target, source.read_bytes(), durable=False)
    shutil.copystat(source, target)


def count_boxes(coco: dict) -> dict[str, int]:
    """Number of images, of boxes, and of boxes by class in the content of a COCO file."""
    names = {entry['id']: entry['name'] for entry in coco['categories']}
    per_class = Counter(names[item['category_id']] for item in coco['annotations'])
    return {'images': len(coco['images']), 'boxes': len(coco['annotations'])} | {
        name: per_class[name] for name in names.values()}
