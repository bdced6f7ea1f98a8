"""Augmented copies of images with their boxes, by albumentations."""
import os

import numpy as np

from cxrdet.core.errors import ConfigError
from cxrdet.core.matching import as_boxes

__all__ = ['PRESETS', 'augment', 'make_augmenter']

PRESETS = ('cell', 'mild')
MEAN_COLOUR = (124, 116, 104)  # RGB


def make_augmenter(preset: str = 'cell', *, min_visibility: float = 0.3, seed: int = 0):
    """A composed transform of albumentations, boxes in absolute pixels (pascal_voc), with a seed of its own.

    ``cell``: mirroring both ways, shift 0.1, scale 0.2, rotation 15 degrees, brightness, contrast, hue, saturation,
    blur; what comes in from outside has the mean colour that batches are padded with (a mirrored border would show
    cells grown together with their own image). ``mild``: shift 0.05, scale 0.1, rotation 5 degrees, brightness and
    contrast, no mirroring, black borders, for chest films. Shifts in x and y are independent, as shares of the image.

    Args:
        preset: One of :data:`PRESETS`.
        min_visibility: A box of which less than this share is left goes.
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
    """Settings of ``Affine``; boxes turn as ellipses, which cells and lesions are nearer to than to rectangles."""
    return dict(translate_percent={'x': (-share, share), 'y': (-share, share)}, keep_ratio=True, border_mode=0,
                rotate_method='ellipse')


def augment(augmenter, image: np.ndarray, boxes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One augmented copy: image (H, W, 3) uint8, boxes (K, 4) float64 xyxy, and the row that each came from (K,).

    Args:
        augmenter: Of :func:`make_augmenter`.
        image: (H, W, 3) uint8, BGR.
        boxes: (N, 4) xyxy in pixels.
    """
    boxes = as_boxes(boxes)
    result = augmenter(image=image[..., ::-1].copy(), bboxes=boxes, rows=np.arange(len(boxes)))
    return (np.ascontiguousarray(result['image'][..., ::-1]), as_boxes(result['bboxes']),
            np.asarray(result['rows'], np.int64).reshape(-1))
