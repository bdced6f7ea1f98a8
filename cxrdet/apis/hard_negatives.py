"""Hard negatives: what a trained detector took for an object where none is annotated."""
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.config import Config

from cxrdet.apis.predict import raw_predictions
from cxrdet.core.boxes import box_area
from cxrdet.core.errors import ConfigError
from cxrdet.core.windows import visible_shares, window_around

__all__ = ['HardNegative', 'alarms_in', 'free_windows', 'hard_negatives']


class HardNegative(NamedTuple):
    """A false alarm: its image, a window (4,) int xyxy around it that holds no annotated object, its score (0..1) and
    the class that it was called."""

    file: str
    window: np.ndarray
    score: float
    name: str


def hard_negatives(config: Config | str | Path, checkpoint: str | Path, truths: Mapping[str, np.ndarray], *,
                   score_thr: float = 0.3, most: int = 2000, device: str = 'auto', trust: bool = False,
                   progress: Callable[[int, int], None] | None = None) -> list[HardNegative]:
    """The false alarms of a detector with the highest scores, best first.

    A false alarm is a detection from ``score_thr`` on that shares no pixel with any annotated box of its image. One
    that lies in the window of a better one is left out.

    Args:
        config, checkpoint: The detector.
        truths: Path of each image -> all its annotated boxes (M, 4) xyxy, regions to ignore included.
        most: How many at most.
        device, trust, progress: See :func:`cxrdet.apis.predict.raw_predictions`.
    """
    found = []
    for file, size, boxes, scores, names in alarms_in(config, checkpoint, list(truths), score_thr=score_thr,
                                                      device=device, trust=trust, progress=progress):
        for row, window in free_windows(boxes, scores, truths[file], size):
            found.append(HardNegative(file, window, float(scores[row]), names[row]))
    return sorted(found, key=lambda item: -item.score)[:most]


def alarms_in(config: Config | str | Path, checkpoint: str | Path, files: Sequence[str], *, score_thr: float,
              device: str = 'auto', trust: bool = False, progress: Callable[[int, int], None] | None = None):
    """For each image file: file, (height, width), boxes (N, 4) xyxy, scores (N,) and class names of the detections from
    ``score_thr`` on.

    Raises: ConfigError if the model is no detector.
    """
    classes, samples = raw_predictions(config, checkpoint, files, device=device, trust=trust, progress=progress)
    for file, (_, sample) in zip(files, samples):
        if 'pred_instances' not in sample or 'bboxes' not in sample.pred_instances:
            raise ConfigError(f'{checkpoint}: hard negatives are the false alarms of a detector; this model predicts '
                              'no boxes.')
        part = sample.pred_instances.cpu()
        part = part[part.scores >= score_thr]
        yield (file, sample.ori_shape[:2], part.bboxes.double().numpy().reshape(-1, 4), part.scores.double().numpy(),
               [classes[label] for label in part.labels.tolist()])


def free_windows(boxes, scores, truth, size: tuple[int, int]) -> list[tuple[int, np.ndarray]]:
    """(row, window) of the boxes of an image that share no pixel with the truth, the best score first.

    Args:
        boxes: (N, 4) xyxy in pixels; scores: (N,).
        truth: (M, 4) xyxy; no window holds any part of them.
        size: Height and width.
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
