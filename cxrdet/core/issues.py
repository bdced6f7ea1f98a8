"""What a check of a data set finds, and the neutral table that the checks go by: one shape for every file format."""
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from cxrdet.core.errors import DataError
from cxrdet.core.splits import shared_groups

LEVELS = ('error', 'warning', 'info')
EACH_TOLD = ('other_shape', )
"""Codes of findings that stand for many things each: none of them is behind "and 4 more"."""
_SHOWN = 10


class Place(NamedTuple):
    """Where something stands: file, row as a person looks for it (``line 7``), its number there, and its id, if any."""

    file: str
    row: str = ''
    number: int = -1
    id: Any = None


@dataclass(frozen=True)
class Finding:
    """One finding of a check.

    Attributes:
        level: ``error`` (training or its result would be wrong), ``warning`` (look at it) or ``info``.
        code: What kind, for example ``zero_area_box``.
        text: A sentence.
        file, row, id: Where.
        image, box: Row of the :class:`DataTable`'s images and boxes that it is about, -1 for none.
        other: A second image or box that it is about (its twin), -1 for none.
    """

    level: str
    code: str
    text: str
    file: str = ''
    row: str = ''
    id: Any = None
    image: int = -1
    box: int = -1
    other: int = -1

    def as_dict(self) -> dict:
        """For JSON: level, code, text, file, row, id; and image and box where it is about one."""
        return {key: value for key, value in asdict(self).items()
                if key in ('level', 'code', 'text', 'file', 'row', 'id')}


def has_errors(findings) -> bool:
    """Whether any of ``findings`` is an error."""
    return any(finding.level == 'error' for finding in findings)


def counts(counter: Counter) -> str:
    """Words for a counter of reasons: ``'2 degenerate, 1 outside'``."""
    return ', '.join(f'{number} {reason}' for reason, number in counter.most_common())


def raise_errors(findings: Iterable[Finding], *, hint: str = '') -> None:
    """Raise DataError if there are errors among ``findings``: it tells the first ten, each by file and row.

    ``hint`` says what may be done about them besides mending the file.
    """
    errors = sorted((finding for finding in findings if finding.level == 'error'), key=_order)
    if not errors:
        return
    first, *others = errors
    text = f'{first.file}: {_told(first)} Mend the file{hint}; check_data lists all that is wrong.'
    if others:
        kinds = Counter(finding.code for finding in errors)
        text += f' It is the first of {len(errors)} errors ({counts(kinds)}):'
        text += ''.join(f'\n  {"" if finding.file == first.file else f"{finding.file}: "}{_told(finding)}'
                        for finding in others[:_SHOWN - 1])
        text += f'\n  … and {len(errors) - _SHOWN} more' if len(errors) > _SHOWN else ''
    raise DataError(text)


def _order(finding: Finding) -> tuple[str, list[int]]:
    return finding.file, [int(number) for number in re.findall(r'\d+', finding.row)]


def _told(finding: Finding) -> str:
    named = '' if finding.id is None else f' ({finding.id})' if isinstance(finding.id, str) else f' (id {finding.id})'
    where = finding.row + named
    text = finding.text.rstrip('.')
    return f'{f"{where}: " if where else ""}{text}{"" if text.endswith("?") else "."}'


def told(findings: Iterable[Finding]) -> dict[str, str]:
    """A line for each kind of finding, by code: the first, and how many more there are; of :data:`EACH_TOLD`, all."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        key = finding.code
        while finding.code in EACH_TOLD and key in groups:
            key = f'{finding.code} {int(key.partition(" ")[2] or 1) + 1}'
        groups.setdefault(key, []).append(finding)
    return {code: f'{os.path.basename(first.file)} {_told(first)}' + (f' … and {len(rest)} more' if rest else '')
            for code, (first, *rest) in groups.items()}


@dataclass
class DataTable:
    """A data set as columns: N images, M boxes, C classes.

    Attributes:
        kind: Name of the format, see :data:`cxrdet.datasets.formats.sets.FORMATS`.
        classes: Names (C).
        names, files: (N) as the annotations name an image, and its path on the disk.
        splits, groups, views: (N) names, ``''`` for unknown; a group is what must not be torn apart, a patient.
        places: (N) where the image is listed.
        sizes: (N, 2) float64 height and width that the annotations state, NaN for unknown.
        labels: (N, C) bool labels of images, None where only boxes have labels.
        boxes: (M, 4) float64 xyxy in pixels of ``sizes``, NaN where they cannot be read.
        box_image, box_label: (M,) int64 row of the image and number of the class, -1 for unknown.
        box_places: (M) where the box stands.
        crowd: (M,) bool, regions that are ignored.
        box_entries: (M) what the file says about a box besides (``ignore``, ``segmentation``), None where it has no
            more to say.
        sizes_of_files: Whether ``sizes`` should be those of the files (not so for the boxes of NIH).
        folders: Folders of images; a file in them that no image refers to is an orphan.
        outside: Rows of images that the annotations name outside the set, and that are not to be looked at.
        other_shapes: What became of shapes that are no upright boxes: a finding of each image and kind.
        findings: What reading has found.
        source: Contents of the files, as the reader needs them to write a mended copy.
    """

    kind: str
    classes: tuple[str, ...] = ()
    names: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    views: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    sizes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    labels: np.ndarray | None = None
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    box_image: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    box_label: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    box_places: list[Place] = field(default_factory=list)
    crowd: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    box_entries: list[dict] | None = None
    sizes_of_files: bool = True
    folders: list[str] = field(default_factory=list)
    outside: set[int] = field(default_factory=set)
    other_shapes: list[Finding] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    source: Any = None

    def about_image(self, level: str, code: str, text: str, image: int, *, other: int = -1) -> Finding:
        """A finding about image ``image``."""
        place = self.places[image]
        return Finding(level, code, text, place.file, place.row, place.id, image=int(image), other=int(other))

    def about_box(self, level: str, code: str, text: str, box: int, *, other: int = -1) -> Finding:
        """A finding about box ``box``."""
        place = self.box_places[box]
        return Finding(level, code, text, place.file, place.row, place.id, image=int(self.box_image[box]),
                       box=int(box), other=int(other))

    def tell(self, level: str, code: str, text: str, place: Place, *, image: int = -1, box: int = -1) -> None:
        """Add a finding."""
        self.findings.append(Finding(level, code, text, place.file, place.row, place.id, image=image, box=box))

    def tell_image(self, level: str, code: str, text: str, image: int) -> None:
        """Add a finding about image ``image``."""
        self.findings.append(self.about_image(level, code, text, image))

    def attempt(self, read: Callable, file: str | os.PathLike, *, code: str = 'unreadable_annotations',
                image: int = -1) -> Any:
        """What ``read(file)`` gives; None where it raises DataError, which is told."""
        try:
            return read(file)
        except DataError as error:
            self.tell('error', code, str(error).removeprefix(f'{file}: ').rstrip('.'), Place(str(file)), image=image)

    def add_image(self, name: str, file: str, place: Place, *, split: str = '', group: str = '',
                  view: str = '') -> int:
        """Append an image to the lists of columns; returns its row."""
        self.names.append(name)
        self.files.append(file)
        self.splits.append(split)
        self.groups.append(group)
        self.views.append(view)
        self.places.append(place)
        return len(self.names) - 1

    def finish(self, sizes: Any, boxes: Any = (), box_image: Any = (), box_label: Any = (), crowd: Any = None) -> None:
        """Set the columns that are arrays, and tell what contradicts itself: the last step of a reader."""
        self.sizes = np.array(sizes, np.float64).reshape(-1, 2)
        self.sizes[~((self.sizes > 0) & (self.sizes < np.inf))] = np.nan
        self.boxes = np.array(boxes, np.float64).reshape(-1, 4)
        self.box_image, self.box_label = np.array(box_image, np.int64), np.array(box_label, np.int64)
        self.crowd = np.zeros(len(self.boxes), bool) if crowd is None else np.array(crowd, bool)
        self.find_conflicts()

    def raise_errors(self, *, on_bad: str = 'error') -> dict[int, str]:
        """Raise DataError if its reader has found errors, see :func:`raise_errors`.

        Args:
            on_bad: ``'drop'`` lets errors of single boxes pass.

        Returns: row of each box that has an error -> its code.
        """
        bad: dict[int, str] = {}
        errors = [finding for finding in self.findings if finding.level == 'error']
        for finding in errors:
            if finding.box >= 0:
                bad.setdefault(finding.box, finding.code)
        others = [finding for finding in errors if finding.box < 0]
        raise_errors(others if on_bad == 'drop' else errors, hint='' if others else ', or set on_bad_annotation="drop" '
                     'to leave such boxes out and have them counted')
        return bad

    def find_conflicts(self) -> None:
        """Tell what contradicts itself, as the last step of a reader: ids that a file uses twice, for images and for
        boxes; images that are listed twice in a split; images and groups (patients) in more than one split."""
        self.findings += [
            self.about_image('error', 'image_id_twice', f'image id {self.places[one].id!r} is used before, by '
                             f'"{self.names[other]}"', one, other=other) for one, other in _repeated(self.places)]
        self.findings += [
            self.about_box('error', 'annotation_id_twice', f'annotation id {self.box_places[one].id!r} is used before, '
                           f'in {self.box_places[other].row}', one, other=other)
            for one, other in _repeated(self.box_places)]
        paths = list(map(os.path.abspath, self.files))
        first: dict[tuple[str, str], int] = {}
        for image, key in enumerate(zip(paths, self.splits)):
            other = first.setdefault(key, image)
            if other != image:
                same = self.labels is None or (self.labels[image] == self.labels[other]).all()
                self.findings.append(self.about_image(
                    'error', 'image_twice' if same else 'image_twice_other_label', f'"{self.names[image]}" is listed '
                    f'before, in {self.places[other].row}{"" if same else ", with another label"}', image, other=other))
        self._find_leaks(paths)

    def _find_leaks(self, paths: list[str]) -> None:
        first: dict[str, int] = {}
        for image, (path, split) in enumerate(zip(paths, self.splits)):
            other = first.setdefault(path, image)
            if self.splits[other] != split:
                self.findings.append(self.about_image('error', 'image_across_splits', f'"{self.names[image]}" is in '
                                                      f'{split} and in {self.splits[other]}', image, other=other))
        members: dict[str, dict[str, list[int]]] = {}
        for image, (group, split) in enumerate(zip(self.groups, self.splits)):
            if group and split:
                members.setdefault(split, {}).setdefault(group, []).append(image)
        shared = shared_groups({split: groups.keys() for split, groups in members.items()})
        for (one, other), groups in shared.items():
            self.findings += [self.about_image(
                'error', 'patient_across_splits', f'patient "{group}" has {len(members[one][group])} images in {one} '
                f'and {len(members[other][group])} in {other}', members[one][group][0], other=members[other][group][0])
                for group in groups]

    def image_labels(self) -> np.ndarray:
        """(N, C) bool: labels of the images; those of their boxes where images have none."""
        if self.labels is not None:
            return self.labels
        labels = np.zeros((len(self.names), len(self.classes)), bool)
        known = (self.box_image >= 0) & (self.box_label >= 0)
        labels[self.box_image[known], self.box_label[known]] = True
        return labels


def _repeated(places: list[Place]) -> list[tuple[int, int]]:
    """(row, earlier row) of every id that a file has used before."""
    first: dict[tuple, int] = {}
    found = []
    for row, place in enumerate(places):
        if place.id is not None:
            other = first.setdefault((place.file, place.id), row)
            if other != row:
                found.append((row, other))
    return found
