"""Building the neutral table of a detection set, image by image, for the readers of formats."""
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cxrdet.core.detection.boxes import FARTHEST
from cxrdet.core.errors import DataError, did_you_mean
from cxrdet.core.issues import DataTable, Finding, Place
from cxrdet.datasets.formats.files import images_by_name, spelled_on_disk, split_of
from cxrdet.datasets.formats.images import read_image_size

_UPLOADED = re.compile(r'[0-9a-f]{8}-')  # what Label Studio puts before the name of a file
_FLAGS = {'true': True, 'yes': True, 'false': False, 'no': False}


class TableBuilder:
    """Columns of a :class:`~cxrdet.core.issues.DataTable` under way.

    Args:
        kind: Name of the format.
        path: Folder or file of the set; images are looked for beside and below it.
        images: Folder of the images, where the user names one; looked into first.

    Attributes:
        table: What there is by now; complete after :meth:`done`. ``tell`` and ``attempt`` are its own.
        root: Folder of the set.
        declared: Names of the classes in their order; a box of another is an error then. Where it stays empty, the
            names that occur are the classes, sorted.
    """

    def __init__(self, kind: str, path: Path, images: Path | None = None) -> None:
        self.root = path if path.is_dir() else path.parent
        self.table = DataTable(kind, source={}, folders=[str(images or self.root)])
        self.tell, self.attempt = self.table.tell, self.table.attempt
        self.declared: list[str] = []
        self._folders = [self.root] if images is None else [images, self.root]
        self._sizes: list[Sequence[float]] = []
        self._boxes: list[tuple] = []  # corners, row of the image, name of the class
        self._shapes: Counter = Counter()  # (row of the image, shape, what became of it)
        self._first: dict[tuple[int, str, str], Place] = {}
        self._listing: dict[str, list[str]] | None = None

    def add_image(self, file: str, place: Place, *, size: Sequence[float] = (math.nan, math.nan),
                  split: str = '') -> int:
        """Add an image with its (height, width), NaN for unknown; returns its row.

        Its name is the path below the folder of images or of the set, without folders ``images``; the absolute path
        where it lies outside. Where ``split`` is empty, a folder in it may say it.
        """
        ways = (Path(os.path.relpath(file, folder)).parts for folder in self._folders)
        name = next(('/'.join(part for part in way if part != 'images') for way in ways if os.pardir not in way), '')
        self._sizes.append(size)
        return self.table.add_image(name or os.path.abspath(file), file, place, split=split or split_of(name))

    def add_box(self, image: int, label: str, points: Sequence[float], place: Place, *, shape: str = '',
                fault: str = '') -> None:
        """Add a box of the class ``label`` to the image in row ``image``.

        Args:
            points: x1, y1, x2, y2 … in pixels: the two corners of a box as they stand or, of a ``shape``, any number of
                points, of which the box is the upright extent. NaN for what is no number.
            shape: What it is if it is no upright box, for the summary: "polygon".
            fault: Why it cannot be read, where its points do not say it.
        """
        told = dict(image=image, box=len(self._boxes))
        good = not fault and len(points) >= 4 and len(points) % 2 == 0 and all(
            abs(point) < FARTHEST for point in points)
        if good and shape:
            self.count(shape, 'the upright box around it was taken', place)
            points = min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])
        self.table.box_places.append(place)
        self._boxes.append((tuple(points) if good else (math.nan,) * 4, image, label))
        if not good:
            text = fault or f'expected pairs of finite numbers for the {shape or "box"}, got {str(list(points)):.80}'
            self.tell('error', 'bad_box', text, place, **told)
        if not label:
            self.tell('error', 'no_category', 'the box has no class', place, **told)
        elif self.declared and label not in self.declared:
            self.tell('error', 'unknown_category', f'class "{label}" is not among those of the set.'
                      f'{did_you_mean(label, self.declared)}', place, **told)

    def count(self, shape: str, fate: str, place: Place) -> None:
        """Note what became of a shape of the last image that is no upright box; they are told together."""
        key = len(self.table.names) - 1, shape, fate
        self._shapes[key] += 1
        self._first.setdefault(key, place)

    def find(self, name: str, *folders: Path) -> str:
        """Path of the image that annotations name: in ``folders`` or the set, as it stands there; or below the set,
        where one image alone has its last part as a name, apart from what Label Studio puts before it. Otherwise where
        it should be."""
        for folder in (*folders, *self._folders):
            known = spelled_on_disk(name, folder)
            if os.path.isfile(folder / known):
                return str(folder / known)
        if self._listing is None:
            self._listing = images_by_name(self._folders[0])
        last = name.replace('\\', '/').rpartition('/')[2]
        found = (self._listing.get(wanted, ()) for wanted in (last, _UPLOADED.sub('', last, count=1)))
        return next((paths[0] for paths in found if len(paths) == 1), f'{[*folders, *self._folders][0]}/{name}')

    def _tell_shapes(self) -> None:
        kinds: Counter = Counter()
        first: dict[tuple[str, str], Place] = {}
        for (image, shape, fate), number in self._shapes.items():
            place = self._first[image, shape, fate]
            kinds[shape, fate] += number
            first.setdefault((shape, fate), place)
            self.table.other_shapes.append(Finding('info', 'other_shape', f'{number} x {shape}: {fate}', place.file,
                                                   place.row, place.id, image=image))
        for (shape, fate), number in kinds.items():
            self.tell('info', 'other_shape', f'{number} x {shape}: {fate}; the first is here', first[shape, fate])

    def done(self) -> DataTable:
        """The table, with a line for each kind of shape that is no box.

        Raises:
            DataError: There is no image in it.
        """
        table = self.table
        if not table.names:
            text = '; '.join(f'{finding.file}: {finding.text}' for finding in table.findings[:5])
            raise DataError(f'{text or f"{self.root}: no image is named in a file of the format {table.kind}"}.')
        boxes, owners, labels = zip(*self._boxes) if self._boxes else ((), (), ())
        table.classes = tuple(dict.fromkeys(self.declared) or sorted(
            set(labels) - {''}, key=lambda name: name.zfill(9) if name.isdigit() else name))
        numbers = {name: number for number, name in enumerate(table.classes)}
        self._tell_shapes()
        table.finish(self._sizes, boxes, owners, [numbers.get(label, -1) for label in labels])
        return table


def as_number(value: Any) -> float:
    """A number from JSON or a text; NaN for what is none."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def as_flag(value: Any) -> bool | None:
    """A flag from JSON or a text: true or false, or 0 or 1; None for what is neither."""
    named = _FLAGS.get(value.strip().lower()) if isinstance(value, str) else None
    number = value if isinstance(value, bool) else as_number(value)
    return named if named is not None else bool(number) if number in (0, 1) else None


def as_pairs(points: Any) -> list[float]:
    """A list of pairs from JSON as numbers in a row; NaN for what is no pair of numbers."""
    rows = points if isinstance(points, list) else [None]
    return [as_number(value) for row in rows for value in (
        row if isinstance(row, list) and len(row) == 2 else (None, None))]


def measured(file: str | Path) -> tuple[float, float]:
    """Height and width of an image file, by its header; NaN where it cannot be read. Each state of it is read once."""
    try:
        state = os.stat(file)
        return _size(str(file), state.st_mtime_ns, state.st_size)
    except (DataError, OSError, ValueError):
        return math.nan, math.nan


def tell_other_sizes(table: DataTable, rows: Iterable[int]) -> None:
    """Tell which of the images in ``rows`` have another size, by their headers, than is stated."""
    for row in rows if table.sizes_of_files else ():
        stated, found = table.sizes[row], np.array(measured(table.files[row]))
        if not np.isnan([*stated, *found]).any() and (stated != found).any():
            table.tell_image('error', 'size_mismatch', f'"{table.names[row]}" has {found[1]:g} x {found[0]:g} px, its '
                             f'annotation says {stated[1]:g} x {stated[0]:g}', row)


@lru_cache(maxsize=2 ** 17)
def _size(file: str, time: int, length: int) -> tuple[int, int]:
    return read_image_size(file)
