"""Writing a copy of a COCO or VOC set with images added to one split, and others of it left out."""
from collections.abc import Container
from dataclasses import replace
from pathlib import Path
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

__all__ = ['SET_WRITERS']


class _SetWriter:
    """Writes into ``out``: first what is added, image by image, and at the end what there was.

    Args:
        table: The set.
        names: Name of each of its image files in the copy.
        out: An empty folder.
        split: The one that is added to.
    """

    folder: str

    def __init__(self, table: DataTable, names: list[str], out: Path, split: str) -> None:
        self.table, self.names, self.out, self.split = table, names, out, split

    def add(self, name: str, image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, crowd: np.ndarray) -> None:
        """Add an image (H, W, 3) uint8 BGR with boxes (N, 4) xyxy, labels (N,) and flags of regions to ignore (N,)."""
        path = join_inside(self.out / self.folder, name)
        if path.exists():
            raise DataError(f'{path}: there is such an image already. Rename it in the source.')
        write_atomic(path, image_bytes(image, path))
        self._note(name, image.shape[:2], boxes, labels, crowd)

    def close(self, left_out: Container[int] = ()) -> None:
        """Copy the set itself, without the images of the rows ``left_out`` and their boxes."""
        kept = [row for row in range(len(self.names)) if row not in left_out]
        place_images([self.names[row] for row in kept], [self.table.files[row] for row in kept],
                     self.out / self.folder)
        boxes = np.flatnonzero(np.isin(self.table.box_image, list(left_out))).tolist()
        self._write(Plan(drop_images=set(left_out), drop_boxes=set(boxes)))

    def _note(self, name: str, size: tuple[int, int], boxes, labels, crowd) -> None:
        raise NotImplementedError

    def _write(self, plan: Plan) -> None:
        raise NotImplementedError


class _CocoWriter(_SetWriter):
    folder = 'images'

    def __init__(self, table: DataTable, names: list[str], out: Path, split: str) -> None:
        super().__init__(table, names, out, split)
        self.table = replace(table, names=names)
        content = next(table.source[file] for file, name in coco_names(table).items() if name == f'{split}.json')
        self.images: list[dict] = []
        self.annotations: list[dict] = []
        self.first = [max([entry['id'] for entry in content[key] if isinstance(entry['id'], int)], default=0) + 1
                      for key in ('images', 'annotations')]
        categories = {entry['name']: entry['id'] for entry in content['categories']}
        self.categories = [categories.get(name) for name in table.classes]

    def _note(self, name: str, size: tuple[int, int], boxes, labels, crowd) -> None:
        number = self.first[0] + len(self.images)
        self.images.append({'id': number, 'file_name': name, 'height': size[0], 'width': size[1]})
        for box, label, ignored in zip(boxes.tolist(), labels.tolist(), crowd.tolist()):
            self.annotations.append(coco_annotation(self.first[1] + len(self.annotations), number,
                                                    self.categories[label], box, crowd=ignored))

    def _write(self, plan: Plan) -> None:
        write_coco_files(self.table, plan, self.out, {self.split: (self.images, self.annotations)})


class _VocWriter(_SetWriter):
    folder = 'JPEGImages'

    def __init__(self, table: DataTable, names: list[str], out: Path, split: str) -> None:
        super().__init__(table, names, out, split)
        self.added: list[str] = []

    def _note(self, name: str, size: tuple[int, int], boxes, labels, crowd) -> None:
        root = Element('annotation')
        SubElement(root, 'filename').text = name
        sides = SubElement(root, 'size')
        for side, value in zip(('width', 'height', 'depth'), (size[1], size[0], 3)):
            SubElement(sides, side).text = str(value)
        for box, label, ignored in zip(boxes.tolist(), labels.tolist(), crowd.tolist()):
            item = SubElement(root, 'object')
            SubElement(item, 'name').text = self.table.classes[label]
            SubElement(item, 'difficult').text = str(int(ignored))
            corners = SubElement(item, 'bndbox')
            for corner, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), box):
                SubElement(corners, corner).text = f'{value:.2f}'
        stem = Path(name).with_suffix('').as_posix()
        write_atomic(self.out / 'Annotations' / f'{stem}.xml', tostring(root, encoding='unicode') + '\n')
        self.added.append(stem)

    def _write(self, plan: Plan) -> None:
        write_voc_files(self.table, plan, self.out, {self.split: self.added})


SET_WRITERS = {'coco': _CocoWriter, 'voc': _VocWriter}
"""By format of the set."""
