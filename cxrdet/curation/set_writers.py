"""Writing a copy of a COCO or VOC set with images added to one split, and others of it left out."""
from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np

from cxrdet.core.errors import DataError
from cxrdet.core.files import write_atomic
from cxrdet.core.issues import DataTable
from cxrdet.core.paths import join_inside
from cxrdet.curation.repair import Plan
from cxrdet.curation.repaired_set import coco_names, place_images, write_coco_files, write_voc_files
from cxrdet.datasets.formats.coco import coco_annotation
from cxrdet.datasets.formats.images import image_bytes
from cxrdet.datasets.formats.voc import SIDES

FOLDERS = {'coco': 'images', 'voc': 'JPEGImages'}
"""Folder of the images of each format that can be written."""


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
    place_images(replace(table, names=names), kept, out / FOLDERS[table.kind])
    boxes = np.flatnonzero(np.isin(table.box_image, list(left_out))).tolist()
    plan = Plan(drop_images=set(left_out), drop_boxes=set(boxes))
    if table.kind == 'coco':
        split = split or 'train'  # as its file is named
        write_coco_files(replace(table, names=names), plan, out, {split: _coco_entries(table, split, added)})
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
