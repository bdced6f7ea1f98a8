"""What a check of a data set finds, and the neutral table that the checks go by: one shape for every file format."""
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

__all__ = ['LEVELS', 'DataTable', 'Finding', 'Place', 'has_errors']

LEVELS = ('error', 'warning', 'info')


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


@dataclass
class DataTable:
    """A data set as columns: N images, M boxes, C classes.

    Attributes:
        kind: ``coco``, ``voc``, ``nih``, ``csv``, ``tfrecord`` or ``folder``.
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
        sizes_of_files: Whether ``sizes`` should be those of the files (not so for the boxes of NIH).
        folders: Folders of images; a file in them that no image refers to is an orphan.
        outside: Rows of images that the annotations name outside the set, and that are not to be looked at.
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
    sizes_of_files: bool = True
    folders: list[str] = field(default_factory=list)
    outside: set[int] = field(default_factory=set)
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

    def image_labels(self) -> np.ndarray:
        """(N, C) bool: labels of the images; those of their boxes where images have none."""
        if self.labels is not None:
            return self.labels
        labels = np.zeros((len(self.names), len(self.classes)), bool)
        known = (self.box_image >= 0) & (self.box_label >= 0)
        labels[self.box_image[known], self.box_label[known]] = True
        return labels
