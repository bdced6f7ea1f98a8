"""One panel of a fixed size for one image: what a model predicts beside the ground truth."""
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from cxrdet.core.detection.matching import as_boxes, pair_boxes
from cxrdet.visualization.boxes import (
    LEGEND,
    STATES,
    as_picture,
    draw_boxes,
    draw_legend,
    resized,
    side_by_side,
    text_width,
    write,
)

_MOST = 5  # classes that are shown


def fit_square(image: np.ndarray, size: int) -> tuple[np.ndarray, float, tuple[int, int]]:
    """Scale an image to a long side of ``size`` pixels and centre it on white.

    Returns: the (size, size, 3) uint8 picture, the scale, and where the left upper corner of the image went (x, y).

    Raises: ValueError if the image is not (H, W) or (H, W, 3) uint8.
    """
    image, scale = resized(as_picture(image), size)
    height, width = image.shape[:2]
    left, top = (size - width) // 2, (size - height) // 2
    canvas = np.full((size, size, 3), 255, np.uint8)
    canvas[top:top + height, left:left + width] = image
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


def classification_panel(image: np.ndarray, truth, probabilities, classes: Sequence[str], *,
                         size: int = 480) -> np.ndarray:
    """The image at the left; at the right its labels, and the five most probable classes with bars.

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
    text, height = np.full((size, size, 3), 255, np.uint8), size // (2 * min(_MOST, len(classes)) + 4)
    labels = [str(name) for name, value in zip(classes, truth, strict=True) if value == 1] or ['none']
    order = np.argsort(-probabilities, kind='stable')[:_MOST]
    signs = np.where(np.isnan(truth), '?', np.where(truth == 1, '+', '-'))
    lines = [f'label: {", ".join(labels)}', *(f'{probabilities[i]:.2f} ({signs[i]}) {classes[i]}' for i in order)]
    letter = next((high for high in range(height * 3 // 4, 8, -1)
                   if max(text_width(line, high) for line in lines) <= size - 18), 8)
    write(text, lines[0], (10, height), letter, width=size - 18)
    for row, label in enumerate(order):
        y = (2 * row + 3) * height
        write(text, lines[row + 1], (10, y - height // 4), letter, width=size - 18)
        right = 10 + max(6, round(float(probabilities[label]) * (size - 20)))
        box = [10, y, right, y + max(4, height // 2)]
        if truth[label] == 1:
            cv2.rectangle(text, tuple(box[:2]), tuple(box[2:]), STATES['found'].color, cv2.FILLED)
        else:
            text = draw_boxes(text, [box], [0], looks=[STATES['false alarm']], names=False, width=2)
    return np.concatenate([fit_square(image, size)[0], text], axis=1)
