"""Making data sets: phantoms, and other formats turned into COCO files with their images.

Each function may be run again: finished files are kept, what is missing is added, and what the function did not write
itself is neither replaced nor deleted. They return numbers to report; progress goes to stderr.
"""
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cxrdet.core.errors import ConfigError, DataError, did_you_mean
from cxrdet.core.folders import OutputFolder, keep_apart
from cxrdet.core.issues import DataTable
from cxrdet.core.paths import join_inside, name_fault
from cxrdet.core.progress import TimedProgressBar, bar_around
from cxrdet.curation.prepare_tfrecord import convert_cdetector
from cxrdet.datasets.cell import CDETECTOR_CLASSES, CellVOCDataset
from cxrdet.datasets.formats import coco
from cxrdet.datasets.formats.coco import coco_annotation, write_json
from cxrdet.datasets.phantoms import CELL_CLASSES, write_cell_phantoms, write_chest_phantoms
from cxrdet.datasets.phantoms.files import prepared_folder, write_whole
from cxrdet.datasets.transforms.loading import read_image_size

VOC_LISTS = ('train', 'val', 'test')


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


def prepare_voc(voc_dir: str | Path, out_dir: str | Path, *, classes: Sequence[str] | None = None,
                corners: str = 'exclusive', on_bad: str = 'error', val_share: float | None = None, seed: int = 0,
                link: bool = False, force: bool = False) -> dict[str, dict[str, int]]:
    """Turn a Pascal VOC folder (``Annotations/``, ``JPEGImages/``) into a COCO set.

    Splits are the lists ``ImageSets/Main/{train,val,test}.txt`` that exist, or a random ``val_share`` of the images.
    Boxes are read by :class:`cxrdet.CellVOCDataset`: it drops degenerate ones, those outside the image and those of
    other classes, counts and logs them. Objects marked ``difficult`` become ``iscrowd``, which both MMDetection and
    COCO's evaluation take as regions to ignore.

    Args:
        voc_dir: The VOC folder.
        out_dir: Folder of the COCO set: ``annotations/<split>.json`` and ``images/``.
        classes: Names in the order of their category ids; by default all that occur, sorted.
        corners: 'exclusive' or 'inclusive', see :class:`cxrdet.CellVOCDataset`.
        on_bad: 'error' or 'drop' for structurally defective objects.
        val_share: Share of the images, above 0 and below 1, that a random choice by ``seed`` gives to val; the lists
            are not looked at then.
        seed: Seed of that choice.
        link: Make symbolic links to the images instead of copies.
        force: Replace another prepared set in ``out_dir``.

    Returns:
        By split: number of images, boxes, boxes by class, and boxes dropped by reason.

    Raises:
        DataError: A file is missing or defective, or ``out_dir`` holds something else or overlaps with ``voc_dir``.
        ConfigError: An argument has a value that cannot be meant.
    """
    voc_dir, out_dir = Path(voc_dir), Path(out_dir)
    if not (voc_dir / 'Annotations').is_dir():
        raise DataError(f'{voc_dir}: expected a Pascal VOC folder with Annotations/ and JPEGImages/.')
    keep_apart(out_dir, voc_dir)
    names, entries, dropped = _read_voc(voc_dir, classes, corners, on_bad, val_share, seed)
    folder = voc_dir / 'JPEGImages'
    for entry in (entry for split in entries.values() for entry in split):
        entry['file_name'] = Path(entry['img_path']).relative_to(folder).as_posix()
    _check_images(folder, [entry['file_name'] for split in entries.values() for entry in split],
                  f'the splits of {voc_dir}')
    manifest = {'kind': 'voc', 'source': str(voc_dir.resolve()), 'classes': list(names), 'corners': corners,
                'val_share': val_share, 'seed': None if val_share is None else seed, 'link': link}
    report: dict[str, dict[str, int]] = {}
    inputs = [folder / entry['file_name'] for split in entries.values() for entry in split]
    with prepared_folder(out_dir, manifest, force=force, inputs=inputs) as new:
        for split, images in entries.items():
            bar = TimedProgressBar()
            for done, entry in enumerate(images, 1):
                name = entry['file_name']
                _place_image(folder / name, join_inside(new / 'images', name, renamed=True), link)
                bar(split, done, len(images))
            content = _to_coco(images, names, f'{voc_dir.name}, {split}, converted from Pascal VOC')
            write_json(new / 'annotations' / f'{split}.json', content)
            report[split] = _count(content)
    return report | ({'dropped boxes': dict(dropped)} if dropped else {})


def prepare_bccd(voc_dir: str | Path, out_dir: str | Path, **kwargs) -> dict[str, dict[str, int]]:
    """Turn BCCD as published (https://github.com/Shenggan/BCCD_Dataset, MIT) into a COCO set.

    :func:`prepare_voc` with the classes RBC, WBC, Platelets and exclusive corners; ``link`` and ``force`` as there.
    """
    return prepare_voc(voc_dir, out_dir, classes=CELL_CLASSES, corners='exclusive', **kwargs)


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


# ------------------------------------------------------------------------------------------------- Pascal VOC

def _read_voc(voc_dir: Path, classes: Sequence[str] | None, corners: str, on_bad: str, val_share: float | None,
              seed: int) -> tuple[tuple[str, ...], dict[str, list[dict]], Counter]:
    """Return the classes, the data lists by split, and the dropped boxes by reason."""
    def read(ann_file: str, names: Sequence[str] | None) -> CellVOCDataset:
        metainfo = None if names is None else {'classes': tuple(names)}
        return CellVOCDataset(ann_file, metainfo, data_root=str(voc_dir), corners=corners, on_bad_annotation=on_bad,
                              pipeline=[], lazy_init=True, test_mode=True)

    if val_share is not None:
        if not 0 < val_share < 1:
            raise ConfigError(f'val_share: expected a share above 0 and below 1, got {val_share}.')
        dataset = read('', classes)
        entries = dataset.load_data_list()
        if len(entries) < 2:
            raise DataError(f'{voc_dir / "Annotations"}: {len(entries)} image cannot be split into train and val.')
        count = min(max(round(val_share * len(entries)), 1), len(entries) - 1)
        chosen = set(np.random.default_rng(seed).permutation(len(entries))[:count].tolist())
        splits = {'train': [entry for k, entry in enumerate(entries) if k not in chosen],
                  'val': [entry for k, entry in enumerate(entries) if k in chosen]}
        return dataset.metainfo['classes'], splits, dataset.dropped
    lists = {split: f'ImageSets/Main/{split}.txt' for split in VOC_LISTS}
    lists = {split: path for split, path in lists.items() if (voc_dir / path).is_file()}
    if not lists:
        raise DataError(f'{voc_dir}: no ImageSets/Main/train.txt, val.txt or test.txt. Add such lists of names, or ask '
                        'for a random split with --val-share 0.2 (val_share=0.2).')
    if classes is None:
        classes = sorted({name for path in lists.values() for name in read(path, None).metainfo['classes']})
    sets = {split: read(path, classes) for split, path in lists.items()}
    splits = {split: dataset.load_data_list() for split, dataset in sets.items()}
    return tuple(classes), splits, sum((dataset.dropped for dataset in sets.values()), Counter())


def _to_coco(entries: Iterable[dict], names: Sequence[str], description: str) -> dict:
    """Return a COCO file for entries of a detection data list with ``file_name``; image ids count from 1."""
    images, annotations = [], []
    for entry in entries:
        images.append({'id': len(images) + 1} | {key: entry[key] for key in ('file_name', 'height', 'width')})
        annotations += [coco_annotation(number, len(images), box['bbox_label'] + 1, box['bbox'],
                                        crowd=box['ignore_flag'])
                        for number, box in enumerate(entry['instances'], len(annotations) + 1)]
    categories = [{'id': number, 'name': name} for number, name in enumerate(names, 1)]
    return {'info': {'description': description}, 'images': images, 'annotations': annotations,
            'categories': categories}


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
    _check_images(folder, table.names, str(source))
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
            _place_image(Path(path), join_inside(new / 'images' / split, name, renamed=True), link)
            content['images'][done - 1] |= {'file_name': f'{split}/{name}', 'height': int(size[0]),
                                            'width': int(size[1])}
            bar(split, done, len(table.names))
        write_json(new / 'annotations' / f'{split}.json', content)
    return _count(content)


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

def _check_images(folder: Path, names: Sequence[str], named_in: str) -> None:
    """Raise DataError if images are missing, two have one name, or a name leaves its folder."""
    outside = [name for name in names if name_fault(name)]
    if outside:
        raise DataError(f'{named_in} names images outside the folder {folder}: {", ".join(map(repr, outside[:5]))}.')
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        raise DataError(f'{named_in} names {len(twice)} images more than once: {", ".join(twice[:5])}.')
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DataError(f'{folder}: {len(missing)} of the {len(names)} images that {named_in} names are not there: '
                        f'{", ".join(missing[:5])}{", …" if len(missing) > 5 else ""}.')


def _place_image(source: Path, target: Path, link: bool) -> None:
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
    write_whole(target, source.read_bytes())
    shutil.copystat(source, target)


def _count(coco: dict) -> dict[str, int]:
    names = {entry['id']: entry['name'] for entry in coco['categories']}
    per_class = Counter(names[item['category_id']] for item in coco['annotations'])
    return {'images': len(coco['images']), 'boxes': len(coco['annotations'])} | {
        name: per_class[name] for name in names.values()}
