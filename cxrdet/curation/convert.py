"""Any set of boxes as a COCO set: ``annotations/<split>.json`` and ``images/``."""
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from cxrdet.core.detection.boxes import box_faults
from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.files import write_json
from cxrdet.core.folders import keep_apart, prepared_folder
from cxrdet.core.issues import DataTable, told
from cxrdet.core.progress import ProgressBar
from cxrdet.curation.pixels import check_files
from cxrdet.curation.prepare import count_boxes
from cxrdet.curation.set_writers import coco_content, copy_names, place_images, voc_names
from cxrdet.datasets.cell import match_classes
from cxrdet.datasets.formats import voc
from cxrdet.datasets.formats.files import tell_missing, tell_outside
from cxrdet.datasets.formats.images import read_image_size
from cxrdet.datasets.formats.sets import read_set
from cxrdet.datasets.formats.table_builder import tell_other_sizes


def convert_set(source: str | Path, out_dir: str | Path, *, kind: str = 'auto', images: str | Path | None = None,
                **options) -> dict[str, dict[str, int] | str]:
    """Turn a set of any format that :func:`cxrdet.datasets.formats.sets.read_set` reads and that has boxes into COCO.

    Splits are those of the set, ``valid`` becomes ``val``; where it has none, all images are
    ``train``.

    Args:
        source, kind, images: The set, its format and the folder of its images, as for
            :func:`read_set`.
        out_dir: Folder of the COCO set.
        **options: ``classes``: names in the order of their category ids, by default in the order
            that the set declares, else sorted. ``on_bad``: 'error', or 'drop' to leave out boxes
            that cannot be read. ``val_share``: share of the images, above 0 and below 1, that a
            random choice by ``seed`` gives to val, whatever the splits of the set are. ``link``:
            make symbolic links to the images instead of copies. ``force``: replace another prepared
            set.

    Returns: by split: number of images, boxes, boxes by class; then boxes dropped by reason,
        what the reader has told, and images that no annotation names.

    Raises:
        DataError: A file is missing or defective, or ``out_dir`` holds something else or overlaps
            with ``source``.
        ConfigError: An argument has a value that cannot be meant, or the set has no boxes.
    """
    table = read_set(source, kind, images=images)
    if table.labels is not None or table.kind in ('folder', 'tfrecord'):
        raise ConfigError(f'{source}: a set of the format "{table.kind}" cannot be converted: this is for image files '
                          'with boxes.')
    table.splits = [{'valid': 'val', 'validation': 'val'}.get(split, split) for split in table.splits]
    return _convert(table, source, out_dir, {'kind': table.kind}, **options)


def convert_voc(voc_dir: str | Path, out_dir: str | Path, *, corners: str = 'exclusive', **options) -> dict:
    """Turn a Pascal VOC folder (``Annotations/``, ``JPEGImages/``) into a COCO set, as :func:`convert_set` does.

    Splits are the lists ``ImageSets/Main/{train,val,test}.txt`` that exist, or a random
    ``val_share``. Objects marked ``difficult`` become ``iscrowd``, which both MMDetection and
    COCO's evaluation take as regions to ignore. ``corners`` is 'exclusive' or 'inclusive', see
    :func:`cxrdet.datasets.formats.voc.read`; BCCD as published
    (https://github.com/Shenggan/BCCD_Dataset, MIT) has exclusive ones.
    """
    voc_dir = Path(voc_dir)
    if not (voc_dir / 'Annotations').is_dir():
        raise DataError(f'{voc_dir}: expected a Pascal VOC folder with Annotations/ and JPEGImages/.')
    by_chance = options.get('val_share') is not None
    table = voc.read(voc_dir, corners=corners, lists={} if by_chance else None)
    if not by_chance and not any(table.splits):
        raise DataError(f'{voc_dir}: no ImageSets/Main/train.txt, val.txt or test.txt. Add such lists of names, or ask '
                        'for a random split with --val-share 0.2 (val_share=0.2).')
    tell_outside(table, [voc_dir])
    return _convert(table, voc_dir, out_dir, {'kind': 'voc', 'corners': corners}, **options)


def _convert(table: DataTable, source: str | Path, out_dir: str | Path, made_from: dict, *,
             classes: Sequence[str] | None = None, on_bad: str = 'error', val_share: float | None = None, seed: int = 0,
             link: bool = False, force: bool = False) -> dict[str, dict[str, int] | str]:
    out_dir = Path(out_dir)
    keep_apart(out_dir, *(str(source), *table.folders))
    names = voc_names(table) if table.kind == 'voc' else copy_names(table)
    splits = _splits(table, val_share, seed, source)
    rows = [row for members in splits.values() for row in members]
    tell_missing(table, rows)
    tell_other_sizes(table, rows)
    bad = table.raise_errors(on_bad=on_bad)
    if table.kind == 'voc' and classes is None:  # which declares none: those of the images that are converted
        used = set(table.box_label[np.isin(table.box_image, rows)].tolist())
        classes = [name for label, name in enumerate(table.classes) if label in used]
    classes = match_classes(classes, table.classes, str(source))
    boxes, dropped = _usable_boxes(table, set(rows), classes, bad)
    manifest = made_from | {'source': str(Path(source).resolve()), 'classes': list(classes), 'val_share': val_share,
                            'seed': None if val_share is None else seed, 'link': link}
    report: dict[str, dict[str, int] | str] = {}
    with prepared_folder(out_dir, manifest, force=force, inputs=[table.files[row] for row in rows]) as new:
        for split, members in splits.items():
            place_images(table, members, new / 'images', names, link=link, keep=True,
                         progress=partial(ProgressBar(), split))
            coco = coco_content(table, members, names, boxes, classes)
            coco['info'] = {'description': f'{Path(source).name}, {split}, converted from {table.kind}'}
            write_json(new / 'annotations' / f'{split}.json', coco)
            report[split] = count_boxes(coco)
    left = len(table.names) - len(rows)
    return report | ({'dropped boxes': dict(dropped)} if dropped else {}) | (
        {'images without a split, left out': str(left)} if left else {}) | told(table.findings + [
            finding for finding in check_files(table) if finding.code == 'orphan_file'])


def _splits(table: DataTable, val_share: float | None, seed: int, source: str | Path) -> dict[str, list[int]]:
    rows = range(len(table.names))
    if val_share is None:
        found = dict.fromkeys(split for split in table.splits if split)
        return {split: [row for row in rows if table.splits[row] == split] for split in found} or {'train': list(rows)}
    if not 0 < val_share < 1:
        raise ConfigError(f'val_share: expected a share above 0 and below 1, got {val_share}.')
    if len(rows) < 2:
        raise DataError(f'{source}: {len(rows)} image cannot be split into train and val.')
    rows = sorted(rows, key=lambda row: table.names[row])
    count = min(max(round(val_share * len(rows)), 1), len(rows) - 1)
    chosen = set(np.random.default_rng(seed).permutation(len(rows))[:count].tolist())
    return {'train': [row for k, row in enumerate(rows) if k not in chosen],
            'val': [row for k, row in enumerate(rows) if k in chosen]}


def _usable_boxes(table: DataTable, rows: set[int], classes: Sequence[str],
                  bad: dict[int, str]) -> tuple[list[tuple[int, int]], Counter]:
    """Row and label of the boxes of ``rows`` that can be used, and the number of the others by reason.

    Images whose size is not stated are measured.
    """
    for row in rows:
        if np.isnan(table.sizes[row]).any():
            table.sizes[row] = read_image_size(table.files[row])
    labels = {number: classes.index(name) for number, name in enumerate(table.classes) if name in classes}
    boxes, dropped = [], Counter()
    faults = box_faults(table.boxes, table.sizes[table.box_image])
    for box, (row, label, fault) in enumerate(zip(table.box_image.tolist(), table.box_label.tolist(), faults)):
        if row not in rows:
            continue
        reason = bad.get(box) or ('' if label in labels else 'unknown_class') or fault
        if reason:
            dropped[reason] += 1
        else:
            boxes.append((box, labels[label]))
    return boxes, dropped
