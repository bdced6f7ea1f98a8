"""Writing copies of data sets: mended, with images added, or as COCO. The input is only read."""
import copy
import dataclasses
import itertools
import json
import os
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np

from cxrdet.core.csv_text import csv_text, read_table
from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.files import atomic_path, write_atomic, write_json
from cxrdet.core.issues import DataTable
from cxrdet.core.paths import join_inside, name_fault, within
from cxrdet.curation.repair import Change, Plan
from cxrdet.datasets.formats.coco import coco_annotation
from cxrdet.datasets.formats.images import image_bytes, read_image_size
from cxrdet.datasets.formats.nih import LISTS
from cxrdet.datasets.formats.tfrecord import read_record_image, split_record_path
from cxrdet.datasets.formats.voc import SIDES, list_names

FOLDERS = {'coco': 'images', 'voc': 'JPEGImages'}
"""Folder of the images of each format that images can be added to."""


def write_mended(table: DataTable, plan: Plan, out: Path, source: str | Path, *, link: bool = False) -> None:
    """Write the set as the plan has it, its images (copied, or symbolic links), ``mended.jsonl`` and ``mended.json``.

    ``mended.jsonl`` has a line for every change, and for every finding that is left (``"change": "none"``).

    Args:
        table, plan: The set, and what is to be changed in it.
        out: An empty folder, as :class:`cxrdet.core.folders.OutputFolder` gives it.
        source: What ``mended.json`` calls the set.
        link: Make links instead of copies.

    Raises: DataError if an image cannot be read, or its name is none for a file.
    """
    write_atomic(out / 'mended.json', json.dumps({'tool': 'check_data', 'format': table.kind,
                                                  'source': str(source)}) + '\n')
    names = copy_names(table)
    for row, (old, new) in enumerate(zip(table.names, names)):
        if old != new and row not in plan.drop_images:
            finding = table.about_image('info', 'image_name', f'"{old}" is named "{new}" in the copy', row)
            plan.changes.append(Change('renamed image', finding, before=[old], after=[new]))
    lines = [change.as_dict() for change in plan.changes]
    lines += [{'change': 'none', **finding.as_dict()} for finding in plan.left]
    write_atomic(out / 'mended.jsonl', ''.join(json.dumps(line, default=str) + '\n' for line in lines))
    _WRITERS[table.kind](dataclasses.replace(table, names=names), plan, out, link)


def check_mendable(table: DataTable) -> None:
    """Raise ConfigError if the format has nothing to mend (a plain folder)."""
    if table.kind not in _WRITERS:
        raise ConfigError(f'a set of the format "{table.kind}" has no annotations to mend.')


def place_images(table: DataTable, rows: Sequence[int], folder: Path, names: Mapping[int, str] | Sequence[str], *,
                 link: bool = False, keep: bool = False, progress: Callable[[int, int], None] | None = None) -> None:
    """Copy the images of some rows into a folder, or make links to them there; of records, write them by their suffix.

    Args:
        table, rows, folder: As above.
        names: Name of each image in the folder, by row.
        link: Make links instead of copies.
        keep: The same images may be there, from an earlier run; otherwise nothing may be in the way.
        progress: Called with (done, total) for each image.

    Raises:
        DataError: A name leads out of the folder, two files have one name (also where the file system takes upper and
            lower case as the same), or an image cannot be read.
    """
    placed: dict[str, str] = {}
    written: set[tuple[int, int]] = set()
    for done, row in enumerate(rows, 1):
        name, file = names[row], table.files[row]
        if placed.get(name, file) != file:
            raise DataError(f'{file}: the image {placed[name]} has the name "{name}" already.')
        target = join_inside(folder, name, renamed=True)
        if name not in placed:
            if os.path.lexists(target) and not (keep and _identity(target) not in written):
                raise DataError(f'{file}: its name "{name}" and that of another image are one on this file system. '
                                'Rename one of them.')
            place_file(file, target, link=link)
            placed[name] = file
            written.add(_identity(target))
        if progress is not None:
            progress(done, len(rows))


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def place_file(file: str | os.PathLike, target: Path, *, link: bool = False) -> None:
    """Copy a file, or make a symbolic link to it, unless the same one is there; write the image of a record."""
    if split_record_path(file) is not None:
        data = image_bytes(read_record_image(file, check=True), file, target.suffix)
        write_atomic(target, data, durable=False)
        return
    try:
        given, real = os.stat(file), os.path.realpath(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        if (os.readlink(target) if target.is_symlink() else '') != (real if link else ''):
            target.unlink(missing_ok=True)
        there = target.lstat() if os.path.lexists(target) else None
        if link and there is None:
            target.symlink_to(real)
        elif not link and (there is None or (there.st_size, int(there.st_mtime)) != (
                given.st_size, int(given.st_mtime))):
            with atomic_path(target, durable=False) as beside:
                shutil.copy2(file, beside)
    except OSError as error:
        raise DataError(f'{file}: the image file cannot be copied: {error.strerror or error}.') from None


def copy_names(table: DataTable) -> list[str]:
    """Name of each image in a copy of the set: its own; or, where that is absolute or holds "..", its path below the
    folder of images, or the last part of it, with a number where that is taken."""
    folder = table.source['folder'] if table.kind == 'csv' else (table.folders or ['.'])[0]
    names = [name if not name_fault(name) else '' for name in table.names]
    given: dict[str, str] = {}
    taken = set(map(name_key, filter(None, names)))
    for row, name in enumerate(names):
        file = os.path.abspath(table.files[row])
        if not name and file not in given:
            plain = os.path.relpath(file, os.path.abspath(folder)) if within(file, [folder]) else os.path.basename(file)
            plain = re.split(r'[/\\:]', plain)[-1] if name_fault(plain) else plain
            given[file] = free_name(plain, taken)
            taken.add(name_key(given[file]))
        names[row] = name or given[file]
    return names


def name_key(name: str) -> str:
    """What two names of images share that would be one file somewhere: upper and lower case do not count, nor the way
    in which an accent is encoded, nor the suffix, for annotations in files of their own go by the rest."""
    return unicodedata.normalize('NFC', os.path.splitext(name)[0]).casefold()


def free_name(name: str, taken: Container[str]) -> str:
    """``name``, or with the first number behind it that makes its :func:`name_key` none of ``taken``."""
    stem, suffix = os.path.splitext(name)
    for number in itertools.count(2):
        if name_key(name) not in taken:
            return name
        name = f'{stem}_{number}{suffix}'


def voc_names(table: DataTable) -> list[str]:
    """Names of the image files of a VOC set, whose images are named without suffix."""
    return [name + os.path.splitext(file)[1] for name, file in zip(table.names, table.files)]


def coco_names(table: DataTable) -> dict[Path, str]:
    """Name of each file of a COCO set in a copy of it: that of its split."""
    splits = {place.file: split for place, split in zip(table.places, table.splits)}
    names: dict[Path, str] = {}
    for file in table.source:
        taken = set(map(name_key, names.values()))
        names[file] = free_name(f'{splits.get(str(file), file.stem) or "train"}.json', taken)
    return names


def coco_content(table: DataTable, rows: Iterable[int], names: Mapping[int, str] | Sequence[str],
                 boxes: Iterable[tuple[int, int]], classes: Sequence[str]) -> dict:
    """The content of a COCO file; all ids count from 1, and images whose size is not stated are measured.

    Args:
        table: The set.
        rows: The images.
        names: Name of each of its images in the file, by row.
        boxes: Row and label of each box that is taken, of these images or others.
        classes: Names of the labels.
    """
    images, annotations, owned = [], [], {}
    for box, label in boxes:
        owned.setdefault(int(table.box_image[box]), []).append((box, label))
    for row in rows:
        stated = np.isfinite(table.sizes[row]).all()
        height, width = map(int, table.sizes[row] if stated else read_image_size(table.files[row]))
        images.append({'id': len(images) + 1, 'file_name': names[row], 'height': height, 'width': width})
        annotations += [coco_annotation(len(annotations) + number, len(images), label + 1, table.boxes[box].tolist(),
                                        crowd=bool(table.crowd[box]))
                        for number, (box, label) in enumerate(owned.get(row, ()), 1)]
    categories = [{'id': number, 'name': name} for number, name in enumerate(classes, 1)]
    return {'images': images, 'annotations': annotations, 'categories': categories}


def _kept(table: DataTable, plan: Plan) -> list[int]:
    return [row for row in range(len(table.names)) if row not in plan.drop_images]


def _write_coco(table: DataTable, plan: Plan, out: Path, link: bool) -> None:
    place_images(table, _kept(table, plan), out / 'images', table.names, link=link)
    write_coco_files(table, plan, out)


def write_coco_files(table: DataTable, plan: Plan, out: Path,
                     added: Mapping[str, tuple[list, list]] | None = None) -> None:
    """Write the annotation files of a COCO set as the plan has it; ``added``: split -> new images and annotations."""
    rows = {(place.file, place.number): row for row, place in enumerate(table.places)}
    boxes = {(place.file, place.number): row for row, place in enumerate(table.box_places)}
    kept = set(_kept(table, plan))
    names = coco_names(table)
    for file, content in table.source.items():
        images = [(entry, rows.get((str(file), number))) for number, entry in enumerate(content['images'])]
        images = [{**entry, 'file_name': table.names[row]} for entry, row in images if row in kept]
        more = (added or {}).get(names[file].removesuffix('.json'), ([], []))
        if not images and not more[0]:
            continue
        used = [entry.get('id') for entry in content.get('annotations') or () if isinstance(entry, dict)]
        fresh = max([value for value in used if isinstance(value, int)], default=0) + 1
        annotations = []
        for number, entry in enumerate(content.get('annotations') or ()):
            row = boxes.get((str(file), number))
            if row is None or row in plan.drop_boxes or table.box_image[row] not in kept:
                continue
            entry = copy.copy(entry)
            if row in plan.renumber:
                entry['id'], fresh = fresh, fresh + 1
            if row in plan.boxes:
                entry |= {key: value for key, value in coco_annotation(0, 0, 0, plan.boxes[row].tolist()).items()
                          if key in ('bbox', 'area')}
            annotations.append(entry)
        write_json(out / 'annotations' / names[file],
                   {**content, 'images': images + more[0], 'annotations': annotations + more[1]})


def _write_voc(table: DataTable, plan: Plan, out: Path, link: bool) -> None:
    place_images(table, _kept(table, plan), out / 'JPEGImages', voc_names(table), link=link)
    write_voc_files(table, plan, out)


def write_voc_files(table: DataTable, plan: Plan, out: Path, added: Mapping[str, list[str]] | None = None) -> None:
    """Write the annotations and lists of a VOC set as the plan has it; ``added``: split -> names of new images."""
    boxes: dict[int, list[int]] = {}
    for box, image in enumerate(table.box_image.tolist()):
        boxes.setdefault(image, []).append(box)
    lists: dict[str, list[str]] = {}
    for row in _kept(table, plan):
        name = table.names[row]
        root = copy.deepcopy(table.source[name])
        for box, element in zip(boxes.get(row, ()), root.findall('object')):
            if box in plan.drop_boxes:
                root.remove(element)
            elif box in plan.boxes:
                for corner, value in zip(SIDES, plan.boxes[box]):
                    element.find(f'bndbox/{corner}').text = f'{value:g}'
        write_atomic(out / 'Annotations' / f'{name}.xml', tostring(root, encoding='unicode') + '\n')
        lists.setdefault(table.splits[row], []).append(name)
    for split, names in (added or {}).items():
        lists.setdefault(split, []).extend(names)
    for split, names in lists.items():
        if split:
            write_atomic(out / 'ImageSets' / 'Main' / f'{split}.txt', ''.join(f'{name}\n' for name in names))


def _write_csv(table: DataTable, plan: Plan, out: Path, link: bool) -> None:
    kept = _kept(table, plan)
    column = table.source['columns']['path']
    _write_rows(table.source['file'], {table.places[row].number: {column: table.names[row]} for row in kept}, out)
    labels = table.source['file'].parent / 'label2id.json'
    if labels.is_file():
        write_atomic(out / labels.name, labels.read_bytes())
    place_images(table, kept, out, table.names, link=link)  # last: nothing may go through a link called as a table


def _write_nih(table: DataTable, plan: Plan, out: Path, link: bool) -> None:
    kept = _kept(table, plan)
    splits = {table.names[row]: table.splits[row] for row in kept}
    place_images(table, kept, out / 'images', table.names, link=link)
    _write_rows(table.source['file'], {table.places[row].number: {} for row in kept}, out)
    folder = table.source['file'].parent
    for split, name in LISTS.items():
        if (folder / name).is_file():
            listed = [image for image in list_names(folder / name)[0] if splits.get(image) == split]
            write_atomic(out / name, ''.join(f'{image}\n' for image in listed))
    if (folder / 'BBox_List_2017.csv').is_file():
        changed = {place.number: _box_cells(plan, box) for box, place in enumerate(table.box_places)
                   if box not in plan.drop_boxes}
        _write_rows(folder / 'BBox_List_2017.csv', changed, out)


def _box_cells(plan: Plan, box: int) -> dict[int, str]:
    if box not in plan.boxes:
        return {}
    x1, y1, x2, y2 = plan.boxes[box].tolist()
    return {column: f'{value:g}' for column, value in enumerate((x1, y1, x2 - x1, y2 - y1), 2)}


def _write_rows(file: Path, lines: Mapping[int, Mapping[int, str]], out: Path) -> None:
    """The rows of a table that stand in ``lines``, each with the cells that change, by column."""
    header, rows, _ = read_table(file)
    written = [[lines[line].get(column, cell) for column, cell in enumerate(cells)]
               for line, cells in rows if line in lines]
    write_atomic(out / file.name.removesuffix('.gz'), csv_text([header, *written]))


def _write_as_coco(table: DataTable, plan: Plan, out: Path, link: bool) -> None:
    """As a COCO set, one file a split; images of TFRecord files in PNG, to the last pixel, one folder a split."""
    kept = _kept(table, plan)
    names = _record_names(table, kept, link) if table.kind == 'tfrecord' else table.names
    place_images(table, kept, out / 'images', names, link=link)
    corners = table.boxes.copy()
    corners[list(plan.boxes)] = np.reshape(list(plan.boxes.values()), (-1, 4))
    boxes = [(box, label) for box, label in enumerate(table.box_label.tolist()) if box not in plan.drop_boxes]
    table = dataclasses.replace(table, boxes=corners)
    for split in dict.fromkeys(table.splits[row] for row in kept):
        content = coco_content(table, [row for row in kept if table.splits[row] == split], names, boxes, table.classes)
        name = split or ('rest' if any(table.splits) else 'train')
        write_json(out / 'annotations' / f'{name}.json', content)


def _record_names(table: DataTable, rows: Iterable[int], link: bool) -> dict[int, str]:
    if link:
        raise ConfigError('the images of a TFRecord file are no files, so that there is nothing to link to (link, '
                          '--link): they are written as PNG.')
    names: dict[int, str] = {}
    taken: set[str] = set()
    for row in rows:
        plain = os.path.splitext(table.names[row])[0] or 'image'
        names[row] = free_name(f'{table.splits[row]}/{plain}.png', taken)
        taken.add(name_key(names[row]))
    return names


_WRITERS = {'coco': _write_coco, 'voc': _write_voc, 'csv': _write_csv, 'nih': _write_nih,
            **dict.fromkeys(('tfrecord', 'yolo', 'cvat', 'labelme', 'label-studio'), _write_as_coco)}


def summary(plan: Plan) -> dict[str, int]:
    """Number of changes by what was done."""
    done: Counter = Counter()
    for change in plan.changes:
        done[change.what.split(' "')[0]] += change.number
    return dict(done)


class AddedImage(NamedTuple):
    """Name and (height, width) of a new image, its boxes (N, 4) xyxy, labels (N,) and flags of regions to ignore."""

    name: str
    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray


def add_image(image: np.ndarray, folder: Path, name: str, *annotations: np.ndarray) -> AddedImage:
    """Write a new image (H, W, 3) uint8 BGR into a folder; ``annotations`` are its boxes, labels and flags."""
    path = join_inside(folder, name)
    if path.exists():
        raise DataError(f'{path}: there is such an image already. Rename it in the source.')
    write_atomic(path, image_bytes(image, path))
    return AddedImage(name, image.shape[:2], *annotations)


def write_set(table: DataTable, names: list[str], out: Path, split: str, added: Sequence[AddedImage],
              left_out: Container[int]) -> None:
    """Write what there was, with what was added.

    Args:
        table: The set.
        names: Name of each of its image files in the copy.
        out: A folder with the new images, and no others.
        split: The one that is added to.
        added: The new images.
        left_out: Rows of images that are left out with their boxes.
    """
    kept = [row for row in range(len(names)) if row not in left_out]
    place_images(table, kept, out / FOLDERS[table.kind], names)
    boxes = np.flatnonzero(np.isin(table.box_image, list(left_out))).tolist()
    plan = Plan(drop_images=set(left_out), drop_boxes=set(boxes))
    if table.kind == 'coco':
        split = split or 'train'  # as its file is named
        table = dataclasses.replace(table, names=names)
        write_coco_files(table, plan, out, {split: _coco_entries(table, split, added)})
        return
    for image in added:
        stem = Path(image.name).with_suffix('').as_posix()
        write_atomic(out / 'Annotations' / f'{stem}.xml', _voc_text(image, table.classes))
    write_voc_files(table, plan, out, {split: [Path(image.name).with_suffix('').as_posix() for image in added]})


def _coco_entries(table: DataTable, split: str, added: Sequence[AddedImage]) -> tuple[list[dict], list[dict]]:
    content = next(table.source[file] for file, name in coco_names(table).items() if name == f'{split}.json')
    last_image, last_box = (max([entry['id'] for entry in content[key] if isinstance(entry['id'], int)], default=0)
                            for key in ('images', 'annotations'))
    categories = {entry['name']: entry['id'] for entry in content['categories']}
    images, annotations = [], []
    for number, (name, size, *columns) in enumerate(added, last_image + 1):
        images.append({'id': number, 'file_name': name, 'height': size[0], 'width': size[1]})
        for box, label, ignored in zip(*(column.tolist() for column in columns)):
            annotations.append(coco_annotation(last_box + len(annotations) + 1, number,
                                               categories.get(table.classes[label]), box, crowd=ignored))
    return images, annotations


def _voc_text(image: AddedImage, classes: Sequence[str]) -> str:
    root = Element('annotation')
    SubElement(root, 'filename').text = image.name
    sides = SubElement(root, 'size')
    for side, value in zip(('height', 'width', 'depth'), (*image.size, 3)):
        SubElement(sides, side).text = str(value)
    for box, label, ignored in zip(image.boxes.tolist(), image.labels.tolist(), image.crowd.tolist()):
        item = SubElement(root, 'object')
        SubElement(item, 'name').text = classes[label]
        SubElement(item, 'difficult').text = str(int(ignored))
        corners = SubElement(item, 'bndbox')
        for corner, value in zip(SIDES, box):
            SubElement(corners, corner).text = f'{value:.2f}'
    return tostring(root, encoding='unicode') + '\n'
