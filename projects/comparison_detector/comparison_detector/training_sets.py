"""Training sets of the tables: some images of a Pascal VOC set, or those without one of its classes, and references."""
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from cxrdet.core.csv_text import csv_text
from cxrdet.core.detection.boxes import box_iou
from cxrdet.core.errors import DataError, check_choice, check_numbers
from cxrdet.core.files import read_text, write_atomic, write_json
from cxrdet.core.folders import keep_apart
from cxrdet.core.issues import DataTable
from cxrdet.curation.references import cut_references
from cxrdet.datasets.formats.images import image_bytes, read_image
from cxrdet.datasets.formats.sets import read_set

_PARTS = {'set', 'references', 'new', 'windows'}


def prepare_subset(source: str | Path, out: str | Path, images: int, *, per_class: int = 12,
                   seed: int = 0) -> dict[str, int]:
    """Draw training images of a Pascal VOC set; of one seed, a smaller draw lies within a larger one.

    Writes ``out/set`` (links to ``source``; its training list has the images drawn, in the set's order) and
    ``out/references`` (images of each class, cut from these). Run again, it writes the same.

    Returns: number of images drawn, and of all training images.
    Raises: DataError if the set cannot be read, has too few training images, or those drawn have too few boxes of a
        class, or if ``out`` holds anything else; ConfigError if ``images`` is no positive number.
    """
    check_numbers('prepare_subset', images=(images, '[1, inf)'))
    source, out = Path(source).resolve(), Path(out)
    table = read_set(source, 'voc')
    train = [row for row, split in enumerate(table.splits) if split == 'train']
    if images > len(train):
        raise DataError(f'{source}: {images} training images were asked for, there are {len(train)}.')
    drawn = sorted(np.random.default_rng(seed).permutation(train)[:images].tolist())
    with _own_folder(source, out, images=images, per_class=per_class, seed=seed):
        _link_set(table, source, drawn, out / 'set')
        cut_references(out / 'set', out / 'references', per_class=per_class, seed=seed, force=True)
    return {'images drawn': images, 'training images': len(train)}


def prepare_left_out(source: str | Path, out: str | Path, name: str, *, per_class: int = 12,
                     seed: int = 0) -> dict[str, int]:
    """Prepare a training on a Pascal VOC set without one of its classes.

    Writes ``out/set`` (links to ``source``; its training list has the images without the class), ``out/references``
    (images of the other classes, cut from these), ``out/new`` (of the class left out, cut from all training images) and
    ``out/windows`` (as many of the same sizes, of which none shows a cell: what references of the class could bring by
    chance). Run again, it writes the same.

    Returns: number of images that are left, and of all training images.
    Raises: DataError if the set cannot be read, no image is left, a class has too few boxes, or ``out`` holds anything
        else.
    """
    source, out = Path(source).resolve(), Path(out)
    table = read_set(source, 'voc')
    check_choice('the class to leave out', name, table.classes)
    train = [row for row, split in enumerate(table.splits) if split == 'train']
    shows = set(table.box_image[table.box_label == table.classes.index(name)].tolist())
    left = [row for row in train if row not in shows]
    if not left:
        raise DataError(f'{source}: every training image shows "{name}", so that none is left to train on.')
    options, others = dict(per_class=per_class, seed=seed, force=True), [each for each in table.classes if each != name]
    with _own_folder(source, out, without=name, per_class=per_class, seed=seed):
        _link_set(table, source, left, out / 'set')
        cut_references(out / 'set', out / 'references', classes=others, **options)
        cut_references(source, out / 'new', classes=[name], split='train', **options)
        _cut_windows(table, train, out / 'windows', name, per_class, np.random.default_rng(seed))
    return {'images without it': len(left), 'training images': len(train)}


@contextmanager
def _own_folder(source: Path, out: Path, **asked) -> Iterator[None]:
    """The folder that a preparation is written into: nothing else is in it, and it is not left half-written if it is
    new and the preparation fails. ``prepared.json`` tells what it was made from; the same may be made again."""
    keep_apart(out, source)
    told, made_from, new = out / 'prepared.json', {'source': str(source), **asked}, not out.exists()
    if told.is_file():
        if (found := read_text(told)) != json.dumps(made_from):
            raise DataError(f'{out}: the folder holds another preparation: {found:.300}, asked for is '
                            f'{json.dumps(made_from)}. Choose another folder, or remove it before.')
    elif out.is_dir() and (others := sorted({entry.name for entry in out.iterdir()} - _PARTS)):
        raise DataError(f'{out}: in the way, not written by prepare_set: {", ".join(others[:5])}. Choose an empty or '
                        'new folder.')
    try:
        write_json(told, made_from)
        yield
    except BaseException:
        if new:
            shutil.rmtree(out, ignore_errors=True)  # of links, themselves
        raise


def _link_set(table: DataTable, source: Path, rows: list[int], out: Path) -> None:
    """A set whose training list has these images of another."""
    lists = out / 'ImageSets' / 'Main'
    lists.mkdir(parents=True, exist_ok=True)
    for folder in ('Annotations', 'JPEGImages'):
        if not (out / folder).is_symlink():
            os.symlink(source / folder, out / folder)
        elif Path(os.readlink(out / folder)) != source / folder:
            raise DataError(f'{out / folder}: a link into another set, {os.readlink(out / folder)}. Choose another '
                            'folder.')
    write_atomic(lists / 'train.txt', ''.join(f'{table.names[row]}\n' for row in rows))


def _cut_windows(table: DataTable, rows: list[int], out: Path, name: str, number: int,
                 rng: np.random.Generator) -> None:
    """Cut windows as large as boxes of the class, from images at random, where no box is."""
    mine = table.boxes[table.box_label == table.classes.index(name)]
    (out / name).mkdir(parents=True, exist_ok=True)
    lines: list[list] = [['path', 'label', 'image']]
    for _ in range(1000 * number):
        if len(lines) > number:
            break
        row = rows[int(rng.integers(len(rows)))]
        width, height = np.ceil(np.diff(mine[int(rng.integers(len(mine)))].reshape(2, 2), axis=0)[0] * 1.2).astype(int)
        if min(width, height) < 8:
            continue
        image = read_image(table.files[row])
        x, y = (int(rng.integers(max(side - length, 0) + 1)) for side, length in
                zip(image.shape[1::-1], (width, height)))
        window = np.array([[x, y, x + width, y + height]], float)
        if box_iou(window, table.boxes[table.box_image == row]).any():
            continue
        path = f'{name}/{len(lines) - 1:03d}.png'
        write_atomic(out / path, image_bytes(image[y:y + height, x:x + width], path), durable=False)
        lines.append([path, name, table.names[row]])
    if len(lines) <= number:
        raise DataError(f'{table.kind} set: no {number} windows without a box were found in {len(rows)} images.')
    write_atomic(out / 'metadata.csv', csv_text(lines))
    write_json(out / 'label2id.json', {name: 0})
