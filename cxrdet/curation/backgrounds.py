"""Images without boxes for a detection set: backgrounds that were looked at, and false alarms of a model."""
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cxrdet.core.detection.boxes import box_area
from cxrdet.core.detection.windows import Detected, visible_shares, window_around
from cxrdet.core.equal_files import equal_files
from cxrdet.core.errors import ConfigError, DataError
from cxrdet.core.issues import DataTable
from cxrdet.curation.augmentation import FILL, only_window
from cxrdet.datasets.formats.files import files_below
from cxrdet.datasets.formats.images import read_image
from cxrdet.datasets.formats.sets import find_format, read_set


class HardNegative(NamedTuple):
    """What a detector took for an object where none is annotated, and a window (4,) int
    xyxy around it without any object.
    """

    file: str
    window: np.ndarray
    score: float
    name: str


@dataclass
class Backgrounds:
    """Where images without boxes come from."""

    # of images that show none of the classes; those that an annotation gives boxes to, or on which the model finds
    # something, are refused
    folder: str | Path | None = None
    # finds objects in files (:func:`cxrdet.inference.predict.detector`); its false alarms become hard negatives
    detector: Callable[[Sequence[str]], Iterator[Detected]] | None = None
    most: int = 2000  # images without boxes in the split at most; those that are there count
    score_thr: float = 0.3  # lowest score, in [0, 1], of a detection that counts as an alarm


@dataclass
class Found:
    """Files of backgrounds, hard negatives, why other files were refused, and whether it was looked."""

    files: list[str] = field(default_factory=list)
    negatives: list[HardNegative] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    looked: bool = False

    def __len__(self) -> int:
        return len(self.files) + len(self.negatives)

    def numbers(self) -> dict:
        """For the report."""
        return {'backgrounds': len(self.files), 'hard_negatives': len(self.negatives),
                'backgrounds_refused': dict(self.refused),
                'backgrounds_unchecked': 0 if self.looked else len(self.files), 'alarms_looked_for': self.looked}

    def images(self, preset: str) -> Iterator[tuple[str, np.ndarray, dict]]:
        """Wish for a name, image and origin of each; of a hard negative, all but its window is painted over."""
        for number, item in enumerate(self.negatives):
            ground = only_window(read_image(item.file), item.window, FILL[preset])
            yield f'hard_negative_{number:05d}.png', ground, {
                'source': item.file, 'augmentation': 'hard negative', 'seed': None, 'window': item.window.tolist(),
                'called': item.name, 'score': round(item.score, 6)}
        for number, file in enumerate(self.files):
            yield (f'background_{number:05d}.png', read_image(file),
                   {'source': file, 'augmentation': 'background', 'seed': None})


def find_backgrounds(given: Backgrounds, table: DataTable, rows: list[int], *, seed: int) -> Found:
    """The images without boxes that are added to the images ``rows`` of a set.

    Raises:
        DataError: There is no image in the folder, or all of them were refused.
        ConfigError: A number is out of range, or the model is no detector.
    """
    if given.most < 0 or not 0 <= given.score_thr <= 1:
        raise ConfigError('expected most of 0 or more and a score within 0 .. 1 for images without boxes, got '
                          f'{given.most} and {given.score_thr}.')
    found = Found(looked=given.detector is not None)
    filled = set(table.box_image.tolist())
    spare = max(given.most - sum(row not in filled for row in rows), 0)
    if given.detector is not None:
        truths = {table.files[row]: table.boxes[table.box_image == row] for row in rows if row in filled}
        found.negatives = hard_negatives(given.detector, truths, score_thr=given.score_thr, most=spare)
    if given.folder is not None:
        _look_through(found, given, [table.files[row] for row in sorted(filled)], spare - len(found.negatives), seed)
    return found


def _look_through(found: Found, given: Backgrounds, with_boxes: list[str], spare: int, seed: int) -> None:
    files = list(files_below(given.folder))
    if not files:
        raise DataError(f'{given.folder}: there is no image in this folder of backgrounds.')
    found.refused = {other: f'it is {one}, which has boxes' for one, other in equal_files(with_boxes, files)}
    for file, number in _annotated(Path(given.folder)).items():
        if file in files:
            found.refused.setdefault(file, f'an annotation file gives it {number} boxes')
    left = [file for file in files if file not in found.refused]
    order = np.random.default_rng(seed).permutation(len(left))
    chosen = [left[k] for k in sorted(order[:max(spare, 0)].tolist())]
    if given.detector is not None and chosen:
        for image in given.detector(chosen):
            if number := int((image.scores >= given.score_thr).sum()):
                best = int(image.scores.argmax())
                found.refused[image.file] = (f'the model finds {number} objects in it, the surest {image.names[best]} '
                                             f'with {image.scores[best]:.2f}')
    found.files = [file for file in chosen if file not in found.refused]
    if len(found.refused) == len(files):
        file, why = next(iter(found.refused.items()))
        raise DataError(f'{given.folder}: none of these {len(files)} images is a background; of {file}: '
                        f'{why.rstrip(".")}.')


def _annotated(folder: Path) -> dict[str, int]:
    """Path of each image in a folder -> its boxes, by annotations that lie in the folder or beside it."""
    for root in (folder, folder.parent):
        try:
            if find_format(root) in ('folder', 'csv', 'nih'):
                continue
            table = read_set(root)
        except DataError:
            continue
        numbers = np.bincount(table.box_image[table.box_image >= 0], minlength=len(table.names))
        real = {str(Path(file).resolve()): int(number) for file, number in zip(table.files, numbers) if number}
        return {file: real[str(Path(file).resolve())] for file in files_below(folder)
                if str(Path(file).resolve()) in real}
    return {}


def hard_negatives(detector: Callable[[Sequence[str]], Iterator[Detected]], truths: Mapping[str, np.ndarray], *,
                   score_thr: float = 0.3, most: int = 2000) -> list[HardNegative]:
    """The ``most`` false alarms of a detector with the highest scores, best first.

    A false alarm is a detection from ``score_thr`` on that shares no pixel with any
    annotated box of its image. One that lies in the window of a better one is left out.

    Args:
        detector: From image files to what is found in each, as :func:`cxrdet.inference.predict.detector` gives it.
        truths: Path of each image -> all its annotated boxes (M, 4) xyxy, regions to ignore included.
    """
    found = []
    for image in detector(list(truths)):
        rows = np.flatnonzero(image.scores >= score_thr)
        for row, window in free_windows(image.boxes[rows], image.scores[rows], truths[image.file], image.size):
            found.append(HardNegative(image.file, window, float(image.scores[rows[row]]), image.names[rows[row]]))
    return sorted(found, key=lambda item: -item.score)[:most]


def free_windows(boxes, scores, truth, size: tuple[int, int]) -> list[tuple[int, np.ndarray]]:
    """(row, window) of the boxes (N, 4) of an image, xyxy in pixels, that share no
    pixel with the truth (M, 4), the best score first; no window holds any part of the
    truth. ``size``: height and width.
    """
    found: list[tuple[int, np.ndarray]] = []
    for row in np.argsort(-np.asarray(scores, np.float64), kind='stable').tolist():
        box = np.asarray(boxes[row], np.float64)
        middle = (box[:2] + box[2:]) / 2
        if any((window[:2] <= middle).all() and (middle < window[2:]).all() for _, window in found):
            continue
        window = window_around(box, truth, size)
        if box_area(window[None])[0] and not visible_shares(truth, window)[1].any():
            found.append((row, window))
    return found
