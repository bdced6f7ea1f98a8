from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cxrdet.core.detection.boxes import box_area
from cxrdet.core.detection.windows import Detected, visible_shares, window_around


class HardNegative(NamedTuple):
    """What a detector took for an object where none is annotated, and a window (4,) int
    xyxy around it without any object.
    """

    file: str
    window: np.ndarray
    score: float
    name: str


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
