"""Augmented copies for single objects of a set: a window of their image, others pasted in."""
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cxrdet.core.detection.pasting import paste_patch, pasteable_boxes, turned_patch
from cxrdet.core.detection.windows import cut_boxes, window_around
from cxrdet.core.issues import DataTable
from cxrdet.curation.augmentation import FILL, augment_marked, only_window, paint_over
from cxrdet.curation.balance_plan import MAX_REPEATS
from cxrdet.datasets.formats.images import read_image


class Copy(NamedTuple):
    """A new image: wish for its name, image (H, W, 3) uint8 BGR, boxes (N, 4)
    xyxy, labels (N,), flags of regions to ignore (N,), and what it was made
    from, for ``provenance.jsonl``.
    """

    wish: str
    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    origin: dict


class CopyOptions(NamedTuple):
    """How copies are made.

    Args:
        preset, min_visibility: See :func:`cxrdet.curation.augmentation.make_augmenter`.
        paste: Objects of lacking classes at most that are pasted into a copy.
    """

    preset: str = 'cell'
    min_visibility: float = 0.3
    paste: int = 1


class Copier:
    """Makes copies for the objects of some classes: their image, but for a window around the object that leaves out
    what it can of the other classes, all painted over; objects of lacking classes are pasted into the window; then it
    is augmented. Where too little is left of a box, the box goes and what is left of the object is painted over.

    Args:
        rows: The images of the set that may be copied.
        wanted: (C,) bool, the classes whose objects get copies; the others are left out of the windows.
    """

    def __init__(self, table: DataTable, names: list[str], rows: list[int], wanted: np.ndarray,
                 options: CopyOptions, *, seed: int) -> None:
        self.table, self.names, self.seed = table, names, seed
        self.preset, self.min_visibility, self.paste = options
        order = np.argsort(table.box_image, kind='stable')
        groups = np.split(order, np.searchsorted(table.box_image[order], np.arange(1, len(table.names))))
        self._boxes = [np.sort(groups[row]) for row in range(len(table.names))]  # rows of the boxes of each image
        self._rows = rows
        rare = wanted[table.box_label] & ~table.crowd
        self.objects = np.array([box for row in rows for box in self._boxes[row] if rare[box]], np.int64)
        self.windows = [self._window(box, ~rare) for box in self.objects]
        # (K, C) boxes of each class that a copy for each object brings, before augmentation
        self.added = np.zeros((len(self.objects), len(table.classes)), np.int64)
        for number, (box, window) in enumerate(zip(self.objects, self.windows)):
            kept = self._cut(int(table.box_image[box]), window)[0]
            self.added[number] = np.bincount(table.box_label[kept[~table.crowd[kept]]], minlength=len(table.classes))
        self.used = np.zeros(len(self.objects), np.int64)  # copies that each is in; -1 once its image was left out
        self.tie = np.random.default_rng(seed).random(len(self.objects))
        self._copies = np.zeros(len(table.names), np.int64)
        self._loose = np.array([box in self._pasteable(int(table.box_image[box])) for box in self.objects], bool)
        self._numbers = dict.fromkeys(('copies', 'pasted', 'painted_over', 'cut'), 0)

    def numbers(self) -> dict[str, int]:
        return dict(self._numbers)

    def lost(self, number: int) -> None:
        """The image ``rows[number]`` is left out of the set: its objects come first from now on."""
        self.used[self.table.box_image[self.objects] == self._rows[number]] -= 1

    def make(self, choice: int, lacking: np.ndarray) -> Copy:
        """A copy for an object; ``lacking``: (C,) boxes that each class lacks without it."""
        table = self.table
        row = int(table.box_image[self.objects[choice]])
        self.used[choice] += 1
        self._copies[row] += 1
        own_seed = int(np.random.SeedSequence((self.seed, row, int(self._copies[row]))).generate_state(1)[0])
        rng = np.random.default_rng(own_seed)
        window = self.windows[choice]
        image = read_image(table.files[row])
        kept, boxes, remains = self._cut(row, window)
        painted = paint_over(image, remains, boxes, FILL[self.preset])
        x1, y1, x2, y2 = window
        ground = only_window(image, window, FILL[self.preset])
        labels, crowd = table.box_label[kept], table.crowd[kept]
        lacking = lacking - np.bincount(labels[~crowd], minlength=len(table.classes))
        cut = int((np.abs(boxes - table.boxes[kept]).max(axis=1, initial=0) > 0.5).sum())
        pasted = self._paste(ground[y1:y2, x1:x2], boxes - [x1, y1, x1, y1], lacking, row, rng)
        for box, place in pasted:
            boxes = np.concatenate([boxes, [place + [x1, y1, x1, y1]]])
            labels, crowd = np.append(labels, table.box_label[box]), np.append(crowd, False)
        new, moved, back, more = augment_marked(self.preset, ground, boxes, min_visibility=self.min_visibility,
                                                seed=own_seed)
        for name, number in (('copies', 1), ('pasted', len(pasted)), ('painted_over', painted + more), ('cut', cut)):
            self._numbers[name] += number
        stem = Path(self.names[row]).with_suffix('').as_posix()
        origin = {'source': table.names[row], 'augmentation': self.preset, 'seed': own_seed, 'window': window.tolist(),
                  'pasted_from': [table.names[table.box_image[box]] for box, _ in pasted],
                  'painted_over': painted + more}
        return Copy(f'{stem}_copy{self._copies[row]}.png', new, moved, labels[back], crowd[back], origin)

    def _window(self, box: int, avoided: np.ndarray) -> np.ndarray:
        row = int(self.table.box_image[box])
        others = [other for other in self._boxes[row] if other != box and avoided[other]]
        return window_around(self.table.boxes[box], self.table.boxes[others], self._size(row))

    def _pasteable(self, row: int) -> np.ndarray:
        mine = self._boxes[row]
        return mine[pasteable_boxes(self.table.boxes[mine], self.table.crowd[mine], self._size(row))]

    def _size(self, row: int) -> tuple[int, int]:
        size = self.table.sizes[row]
        if np.isnan(size).any():
            size = self.table.sizes[row] = read_image(self.table.files[row]).shape[:2]
        return int(size[0]), int(size[1])

    def _cut(self, row: int, window: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of the boxes that stay, their parts in the window, and remains; of regions to ignore anything stays."""
        mine = self._boxes[row]
        crowd = self.table.crowd[mine]
        stays, parts, remains = cut_boxes(self.table.boxes[mine[~crowd]], window, min_visibility=self.min_visibility)
        regions, region_parts, _ = cut_boxes(self.table.boxes[mine[crowd]], window, min_visibility=0)
        return (np.concatenate([mine[~crowd][stays], mine[crowd][regions]]), np.concatenate([parts, region_parts]),
                remains)

    def _paste(self, ground: np.ndarray, boxes: np.ndarray, lacking: np.ndarray, own: int,
               rng: np.random.Generator) -> list[tuple[int, np.ndarray]]:
        """Paste objects of other images than ``own`` where they cover no box: their rows and places."""
        pasted: list[tuple[int, np.ndarray]] = []
        labels, lacking = self.table.box_label[self.objects], lacking.copy()
        foreign = self._loose & (self.table.box_image[self.objects] != own)
        while len(pasted) < self.paste:
            open_ = np.flatnonzero(foreign & (self.used < MAX_REPEATS) & (lacking[labels] > 0))
            if not len(open_):
                break
            label = labels[open_[lacking[labels[open_]].argmax()]]
            mine = open_[labels[open_] == label]
            number = mine[np.lexsort((rng.random(len(mine)), self.used[mine]))[0]]
            box = int(self.objects[number])
            image = read_image(self.table.files[self.table.box_image[box]])
            patch = turned_patch(image, np.rint(self.table.boxes[box]).astype(int), rng)
            there = np.concatenate([boxes, *(place[None] for _, place in pasted)])
            place = paste_patch(ground, patch, there, rng, max_cover=0)
            if place is None:
                lacking[label] = 0  # there is no room for this class: the next one
                continue
            pasted.append((box, np.array(place, np.float64)))
            self.used[number] += 1
            lacking[label] -= 1
        return pasted
