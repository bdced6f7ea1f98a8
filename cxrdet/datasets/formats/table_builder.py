"""Building the neutral table of a detection set, image by image, for the readers of formats."""
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cxrdet.core.errors import DataError, did_you_mean
from cxrdet.core.issues import DataTable, Finding, Place
from cxrdet.datasets.formats.coco import load_json
from cxrdet.datasets.formats.files import image_paths
from cxrdet.datasets.formats.images import read_image_size

__all__ = ['TableBuilder', 'annotation_files', 'as_number', 'as_pairs', 'first_bytes', 'measured', 'split_of']

_SPLITS = {'train': 'train', 'training': 'train', 'val': 'val', 'valid': 'val', 'validation': 'val', 'test': 'test',
           'testing': 'test'}
_UPLOADED = re.compile(r'[0-9a-f]{8}-')  # what Label Studio puts before the name of a file


class TableBuilder:
    """Columns of a :class:`~cxrdet.core.issues.DataTable` under way.

    Args:
        kind: Name of the format.
        root: Folder of the set; images are looked for in it and below it.
        images: Folder of the images, where the user names one; looked into first.
        classes: Names that the set declares, in their order; a box of another class is an error then. Without, the
            names that occur are the classes, sorted.

    Attributes:
        table: What there is by now; complete after :meth:`done`.
        declared: As above.
        labels: Name of the class of each box, ``''`` for none.
    """

    def __init__(self, kind: str, root: Path, images: Path | None = None, classes: Iterable[str] = ()) -> None:
        self.table, self.root, self.declared = DataTable(kind, source={}), root, list(classes)
        self._folders = [root] if images is None else [images, root]
        self._sizes: list[tuple[float, float]] = []
        self._boxes: list[tuple[float, ...]] = []
        self._owners: list[int] = []
        self.labels: list[str] = []
        self._shapes: dict[tuple[str, str], list] = {}  # (shape, what became of it) -> number, place of the first
        self._listing: dict[str, list[str]] | None = None

    def tell(self, level: str, code: str, text: str, place: Place, *, image: int = -1, box: int = -1) -> None:
        """Add a finding."""
        self.table.findings.append(Finding(level, code, text, *place[:2], place.id, image=image, box=box))

    def load_json(self, file: Path, form: type) -> Any:
        """The content of a JSON file, of the type ``form``; None for a file that is told as unreadable."""
        try:
            content = load_json(file)
            if isinstance(content, form):
                return content
            raise DataError(f'{file}: expected a JSON {"list" if form is list else "object"}.')
        except DataError as error:
            self.tell('error', 'unreadable_annotations', str(error), Place(str(file)))

    def add_image(self, name: str, file: str | Path, place: Place, *, size: Sequence[float] = (math.nan, math.nan),
                  split: str = '') -> int:
        """Add an image with its (height, width), NaN for unknown; returns its row."""
        table = self.table
        table.names.append(name)
        table.files.append(str(file))
        table.splits.append(split)
        table.groups.append('')
        table.views.append('')
        table.places.append(place)
        self._sizes.append(tuple(side if 0 < side < math.inf else math.nan for side in size))
        return len(table.names) - 1

    def add_box(self, image: int, label: str, points: Sequence[float], place: Place, *, shape: str = '',
                fault: str = '') -> None:
        """Add a box of an image.

        Args:
            image: Row of the image.
            label: Name of the class.
            points: x1, y1, x2, y2 … in pixels: the two corners of a box as they stand or, of a ``shape``, any number of
                points, of which the box is the upright extent. NaN for what is no number.
            place: Where it stands.
            shape: What it is if it is no upright box, for the summary: "polygon".
            fault: Why it cannot be read, for the finding, where its points do not say it.
        """
        number = len(self._boxes)
        good = not fault and len(points) >= 4 and len(points) % 2 == 0 and all(map(math.isfinite, points))
        if good and shape:
            self._count(shape, 'the upright box around it was taken', place)
            points = min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])
        self.table.box_places.append(place)
        self._boxes.append(tuple(points) if good else (math.nan,) * 4)
        self._owners.append(image)
        self.labels.append(label)
        if not good:
            text = fault or f'expected pairs of finite numbers for the {shape or "box"}, got {str(list(points)):.80}'
            self.tell('error', 'bad_box', text, place, image=image, box=number)
        if not label:
            self.tell('error', 'no_category', 'the box has no class', place, image=image, box=number)
        elif self.declared and label not in self.declared:
            self.tell('error', 'unknown_category', f'class "{label}" is not among those of the set.'
                      f'{did_you_mean(label, self.declared)}', place, image=image, box=number)

    def skip(self, shape: str, place: Place) -> None:
        """Note a shape that has no box."""
        self._count(shape, 'left out, for it has no box', place)

    def _count(self, shape: str, fate: str, place: Place) -> None:
        self._shapes.setdefault((shape, fate), [0, place])[0] += 1

    def find(self, name: str, *folders: Path) -> str:
        """Path of the image that annotations name: in ``folders`` or the set, as it stands there; or below the set,
        where one image alone has its last part as a name, apart from what Label Studio puts before it. Otherwise where
        it should be."""
        for folder in (*folders, *self._folders):
            if os.path.isfile(folder / name):
                return str(folder / name)
        if self._listing is None:
            self._listing = {}
            for folder in self._folders[:1]:
                for path in image_paths(folder):
                    self._listing.setdefault(Path(path).name, []).append(path)
        last = name.rpartition('/')[2]
        for wanted in (last, _UPLOADED.sub('', last, count=1)):
            found = self._listing.get(wanted, ())
            if len(found) == 1:
                return found[0]
        return f'{[*folders, *self._folders][0]}/{name}'

    def name_inside(self, file: str, otherwise: str) -> str:
        """The path of an image as seen from the folder of images or of the set; ``otherwise`` where it lies outside."""
        for folder in self._folders:
            path = os.path.relpath(file, folder)
            if path != os.pardir and not path.startswith(os.pardir + os.sep):
                return Path(path).as_posix()
        return otherwise

    def done(self) -> DataTable:
        """The table, with a line for each kind of shape that is no box."""
        table = self.table
        table.classes = tuple(dict.fromkeys(self.declared) or sorted({label for label in self.labels if label}))
        numbers = {name: number for number, name in enumerate(table.classes)}
        table.sizes = np.array(self._sizes, np.float64).reshape(-1, 2)
        table.boxes = np.array(self._boxes, np.float64).reshape(-1, 4)
        table.box_image = np.array(self._owners, np.int64)
        table.box_label = np.array([numbers.get(label, -1) for label in self.labels], np.int64)
        table.crowd = np.zeros(len(self._boxes), bool)
        for (shape, fate), (number, place) in self._shapes.items():
            self.tell('info', 'other_shape', f'{number} x {shape}: {fate}; the first is here', place)
        table.find_conflicts()
        return table


def annotation_files(path: Path, *suffixes: str) -> Iterator[Path]:
    """``path`` itself, or the files in a folder and up to three below it, by suffix; to see of what format a set is.

    Readers go to the bottom, by :func:`cxrdet.datasets.formats.files.files_below`.
    """
    level = [path] if path.is_dir() else []
    if not level and path.suffix.lower() in suffixes:
        yield path
    for _ in range(4):
        below = []
        for folder in level:
            with suppress(OSError):
                for name in sorted(os.listdir(folder)):
                    if not name.startswith('.') and os.path.splitext(name)[1].lower() in suffixes:
                        yield folder / name
                    elif not name.startswith('.') and os.path.isdir(folder / name):
                        below.append(folder / name)
        level = below


def as_number(value: Any) -> float:
    """A number from JSON or a text; NaN for what is none."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


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


@lru_cache(maxsize=2 ** 17)
def _size(file: str, time: int, length: int) -> tuple[int, int]:
    return read_image_size(file)


def split_of(name: str) -> str:
    """``train``, ``val`` or ``test``, by the first folder in a path that says so (``valid``: val); ``''`` for none."""
    return next((_SPLITS[part.lower()] for part in name.split('/')[:-1] if part.lower() in _SPLITS), '')


def first_bytes(path: Path, count: int = 4096) -> str:
    """The beginning of a file as text, to see of what format it is; ``''`` where it cannot be read."""
    try:
        with open(path, 'rb') as stream:
            return stream.read(count).decode('utf-8', 'replace').lstrip('\ufeff \t\r\n')
    except OSError:
        return ''
