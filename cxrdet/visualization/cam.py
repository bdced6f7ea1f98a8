"""Heat maps laid over images. NumPy and OpenCV only; images are uint8, BGR as OpenCV reads them."""
from collections.abc import Sequence

import cv2
import numpy as np

from cxrdet.visualization.boxes import grid

_STRENGTH = 0.6


def overlay_heat(image: np.ndarray, heat: np.ndarray, *, strength: float = _STRENGTH) -> np.ndarray:
    """Return ``image`` with a heat map over it; where there is no heat, the image shows unchanged.

    The colours (OpenCV's "plasma", from blue over red to yellow) rise in
    brightness and can be told apart with every common kind of colour blindness;
    hot places are less transparent.

    Args:
        image: (H, W) or (H, W, 3) uint8, BGR.
        heat: (h, w) in [0, 1], of any size; it is stretched over the image.
        strength: opacity of the hottest place, in [0, 1].

    Returns: (H, W, 3) uint8.
    Raises: ValueError if the image is not uint8 or the heat not two-dimensional and within [0, 1].
    """
    image, heat = np.asarray(image), np.asarray(heat, dtype=np.float32)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or not image.size:
        raise ValueError(f'expected an image of shape (H, W) or (H, W, 3), uint8, got {image.shape}, {image.dtype}')
    if heat.ndim != 2 or not heat.size or not ((heat >= 0) & (heat <= 1 + 1e-5)).all():
        raise ValueError(f'expected heat of shape (h, w) within [0, 1], got shape {heat.shape}')
    picture = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    picture = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
    size = picture.shape[1::-1]
    heat = np.clip(cv2.resize(heat, size, interpolation=cv2.INTER_LINEAR), 0, 1)
    colors = cv2.applyColorMap(np.round(heat * 255).astype(np.uint8), cv2.COLORMAP_PLASMA)
    opacity = strength * heat[..., None]
    return np.round(picture * (1 - opacity) + colors * opacity).astype(np.uint8)


def cam_sheet(image: np.ndarray, heats: Sequence[np.ndarray], titles: Sequence[str], *, name: str = 'image',
              size: int = 512) -> np.ndarray:
    """Return one sheet: the image as it is, then one overlay for each of
    ``heats``, each under its title. ``name`` is the title of the image, ``size``
    the long side of each panel in pixels.

    ``image`` and each of ``heats`` are as for :func:`overlay_heat`.

    Raises: ValueError as :func:`overlay_heat`, or if there is not one title a heat map.
    """
    if len(heats) != len(titles):
        raise ValueError(f'expected one title a heat map, got {len(titles)} for {len(heats)}')
    ratio = size / max(image.shape[:2])
    shape = tuple(max(1, round(side * ratio)) for side in image.shape[1::-1])
    image = cv2.resize(image, shape, interpolation=cv2.INTER_AREA if ratio < 1 else cv2.INTER_CUBIC)
    panels = [image, *(overlay_heat(image, heat) for heat in heats)]
    return grid(panels, min(len(panels), 4), titles=[name, *titles])
