"""Augmented copies of images with their boxes, by albumentations."""
import os

import numpy as np

from cxrdet.core.detection.matching import as_boxes
from cxrdet.core.errors import ConfigError

PRESETS = ('cell', 'mild')
MEAN_COLOUR = (124, 116, 104)  # RGB
FILL = {'cell': MEAN_COLOUR[::-1], 'mild': (0, 0, 0)}
"""Colour, BGR, of what comes in from outside of the image, by preset."""


def make_augmenter(preset: str = 'cell', *, min_visibility: float = 0.3, seed: int = 0):
    """A composed transform of albumentations, boxes in absolute pixels (pascal_voc), with a seed of its own.

    ``cell``: mirroring both ways, shift 0.1, scale 0.2, rotation 15 degrees,
    brightness, contrast, hue, saturation, blur; what comes in from outside has the mean
    colour that batches are padded with. ``mild``: shift 0.05, scale 0.1, rotation 5
    degrees, brightness and contrast, no mirroring, black borders, for chest films. A
    box of which less than ``min_visibility`` is left goes.

    Args:
        preset: One of :data:`PRESETS`.
        min_visibility: Share of a box's area, in 0..1.
        seed: Of all draws.

    Raises: ConfigError for an unknown preset.
    """
    os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1')
    import albumentations as A
    if preset not in PRESETS:
        raise ConfigError(f'the augmentation must be one of {", ".join(PRESETS)}, got "{preset}".')
    if preset == 'cell':
        steps = [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5),
                 A.Affine(**_moves(0.1), scale=(0.8, 1.2), rotate=(-15, 15), fill=MEAN_COLOUR, p=0.9),
                 A.RandomBrightnessContrast(0.2, 0.2, p=0.5), A.HueSaturationValue(10, 20, 20, p=0.3),
                 A.GaussianBlur(blur_limit=(3, 3), p=0.2)]
    else:
        steps = [A.Affine(**_moves(0.05), scale=(0.9, 1.1), rotate=(-5, 5), p=0.9),
                 A.RandomBrightnessContrast(0.15, 0.15, p=0.7)]
    boxes = A.BboxParams(format='pascal_voc', label_fields=['rows'], min_visibility=min_visibility, clip=True)
    return A.Compose(steps, bbox_params=boxes, seed=seed)


def _moves(share: float) -> dict:
    """Settings of ``Affine``; boxes turn as ellipses, as cells and lesions nearly are."""
    return dict(translate_percent={'x': (-share, share), 'y': (-share, share)}, keep_ratio=True, border_mode=0,
                rotate_method='ellipse')


def augment(augmenter, image: np.ndarray, boxes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One augmented copy of an image (H, W, 3) uint8, BGR: image, boxes (K, 4) float64
    xyxy in pixels, and the row that each came from (K,).

    Args:
        augmenter: Of :func:`make_augmenter`.
        boxes: (N, 4) xyxy in pixels.

    Raises: ValueError if the boxes are not (N, 4) and finite.
    """
    boxes = as_boxes(boxes)
    result = augmenter(image=image[..., ::-1].copy(), bboxes=boxes, rows=np.arange(len(boxes)))
    return (np.ascontiguousarray(result['image'][..., ::-1]), as_boxes(result['bboxes']),
            np.asarray(result['rows'], np.int64).reshape(-1))


def augment_marked(preset: str, image: np.ndarray, boxes, *, min_visibility: float, seed: int) -> tuple:
    """As :func:`augment`, with the number of places where what is left of a box that
    goes was painted over: nothing is to be seen without its box.

    Arguments as for :func:`make_augmenter` and :func:`augment`.

    Returns: image, boxes (K, 4), the row that each came from (K,), and the number of places.
    """
    new, moved, rows = augment(make_augmenter(preset, min_visibility=0., seed=seed), image, boxes)
    if not len(rows):
        return new, moved, rows, 0
    kept = augment(make_augmenter(preset, min_visibility=min_visibility, seed=seed), image, boxes)[2]
    stays = np.isin(rows, kept)
    painted = paint_over(new, moved[~stays], moved[stays], FILL[preset])
    return new, moved[stays], rows[stays], painted


def paint_over(image: np.ndarray, places, spare, colour) -> int:
    """Fill rectangles (R, 4) xyxy of an image (H, W, 3), which is changed, to the last
    pixel that they touch, but for what lies in others; number of those filled.

    Args:
        places: (R, 4) xyxy in pixels.
        spare: (K, 4) xyxy, what stays as it is.
        colour: Three values.
    """
    places = as_boxes(places)
    if not len(places):
        return 0
    mask = np.zeros(image.shape[:2], bool)
    for boxes, value in ((places, True), (as_boxes(spare), False)):
        for x1, y1, x2, y2 in boxes:
            mask[int(max(y1, 0)):int(np.ceil(y2)), int(max(x1, 0)):int(np.ceil(x2))] = value
    image[mask] = colour
    return len(places)


def only_window(image: np.ndarray, window, colour) -> np.ndarray:
    """A copy of an image (H, W, 3) that is filled with a colour outside a window, x1, y1, x2, y2 in whole pixels."""
    x1, y1, x2, y2 = window
    found = np.full_like(image, colour)
    found[y1:y2, x1:x2] = image[y1:y2, x1:x2]
    return found
