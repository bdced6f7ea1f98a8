"""One panel of a fixed size for one image: what a model predicts beside the ground truth."""
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from cxrdet.core.detection.matching import as_boxes, pair_boxes
from cxrdet.core.terminal import visible
from cxrdet.visualization.boxes import LEGEND, PALETTE, Look, draw_boxes, draw_legend, side_by_side

_INK = (40, 40, 40)
_STATES = {'found': Look(PALETTE[2]), 'wrong': Look(PALETTE[1], 'dashed')}


def fit_square(image: np.ndarray, size: int) -> tuple[np.ndarray, float, tuple[int, int]]:
    """Scale an image to a long side of ``size`` pixels and centre it on white.

    Returns: the (size, size, 3) uint8 picture, the scale, and where the left upper corner of the image went (x, y).

    Raises: ValueError if the image is not (H, W) or (H, W, 3) uint8.
    """
    image = draw_boxes(image, [], [])  # checks it and gives it three channels
    scale = size / max(image.shape[:2])
    width, height = (max(1, round(side * scale)) for side in image.shape[1::-1])
    left, top = (size - width) // 2, (size - height) // 2
    canvas = np.full((size, size, 3), 255, np.uint8)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas[top:top + height, left:left + width] = cv2.resize(image, (width, height), interpolation=method)
    return canvas, scale, (left, top)


def detection_panel(image: np.ndarray, prediction: Mapping, target: Mapping, classes: Sequence[str], *,
                    score_thr: float = 0.5, size: int = 480) -> np.ndarray:
    """Ground truth at the left; at the right the prediction, as :func:`cxrdet.visualization.boxes.side_by_side`.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        prediction: ``boxes`` (N, 4) xyxy in pixels, ``scores``, ``labels`` (N,).
        target: ``boxes`` (M, 4), ``labels`` (M,) and optionally ``ignore``.
        classes: C names.
        score_thr: lowest score that is shown.
        size: side of each half in pixels; the size of the picture depends on it alone.

    Returns: (H, W, 3) uint8.
    Raises: ValueError for an image, boxes or lengths that do not fit.
    """
    canvas, scale, (left, top) = fit_square(image, size)
    shift = np.array([left, top, left, top])
    prediction, target = ({**part, 'boxes': as_boxes(part['boxes']) * scale + shift} for part in (prediction, target))
    pairing = pair_boxes([prediction], [target], len(classes))
    return draw_legend(side_by_side(canvas, pairing, classes=classes, score_thr=score_thr), LEGEND)


def classification_panel(image: np.ndarray, truth, probabilities, classes: Sequence[str], *, top: int = 5,
                         size: int = 480) -> np.ndarray:
    """The image at the left; at the right its labels, and the ``top`` most probable classes with bars.

    A bar is solid green where the label is present, a hollow dashed vermilion frame
    where it is not; unknown labels carry a question mark.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        truth: (C,) 1, 0 or NaN for unknown.
        probabilities: (C,) in [0, 1].
        classes: C names.
        size: side of each half in pixels; the size of the picture depends on it alone.

    Returns: (H, W, 3) uint8.
    Raises: ValueError if there is not one label and probability a class.
    """
    truth, probabilities = np.asarray(truth, np.float64), np.asarray(probabilities, np.float64)
    if not len(truth) == len(probabilities) == len(classes):
        raise ValueError(f'expected one label and one probability for each of {len(classes)} classes, got '
                         f'{len(truth)} and {len(probabilities)}')
    text = np.full((size, size, 3), 255, np.uint8)
    labels = [str(name) for name, value in zip(classes, truth, strict=True) if value == 1] or ['none']
    height = size // (2 * min(top, len(classes)) + 4)
    letter = 0.5 * height / 14
    _write(text, f'label: {", ".join(labels)}', (10, height), letter, size)
    for row, label in enumerate(np.argsort(-probabilities, kind='stable')[:top]):
        y = (2 * row + 2) * height
        sign = '?' if np.isnan(truth[label]) else '+' if truth[label] == 1 else '-'
        _write(text, f'{probabilities[label]:.2f} {classes[label]} ({sign})', (10, y + height * 3 // 4), letter, size)
        right = 10 + max(6, round(float(probabilities[label]) * (size - 20)))
        box = [10, y + height, right, y + height + max(4, height // 2)]
        if truth[label] == 1:
            cv2.rectangle(text, tuple(box[:2]), tuple(box[2:]), _STATES['found'].color, cv2.FILLED)
        else:
            text = draw_boxes(text, [box], [0], looks=[_STATES['wrong']], names=False, width=2)
    return np.concatenate([fit_square(image, size)[0], text], axis=1)


def _write(canvas: np.ndarray, text: str, origin: tuple[int, int], scale: float, width: int) -> None:
    """Write a line, smaller if it would be too long."""
    text = visible(text, one_line=True)
    taken = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, 1)[0][0]
    scale *= min(1, (width - origin[0] - 8) / max(taken, 1))
    cv2.putText(canvas, text, origin, cv2.FONT_HERSHEY_DUPLEX, scale, _INK, 1, cv2.LINE_AA)
