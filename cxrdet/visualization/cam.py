"""Heat maps laid over images. NumPy and OpenCV only; images are uint8, BGR as OpenCV reads them."""
from collections.abc import Sequence

import cv2
import numpy as np

from cxrdet.visualization.boxes import as_picture, grid, resized

_STRENGTH = 0.6  # opacity of the hottest place


def overlay_heat(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return ``image`` with a heat map over it; where there is no heat, the image shows unchanged.

    The colours (OpenCV's "plasma", from blue over red to yellow) rise in
    brightness and can be told apart with every common kind of colour blindness;
    hot places are less transparent.

    Args:
        image: (H, W) or (H, W, 3) uint8, BGR.
        heat: (h, w) in [0, 1], of any size; it is stretched over the image.

    Returns: (H, W, 3) uint8.
    Raises: ValueError if the image is not uint8 or the heat not two-dimensional and within [0, 1].
    """
    picture, heat = as_picture(image), np.asarray(heat, dtype=np.float32)
    if heat.ndim != 2 or not heat.size or not ((heat >= 0) & (heat <= 1 + 1e-5)).all():
        raise ValueError(f'expected heat of shape (h, w) within [0, 1], got shape {heat.shape}')
    heat = np.clip(cv2.resize(heat, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR), 0, 1)
    colors = cv2.applyColorMap(np.round(heat * 255).astype(np.uint8), cv2.COLORMAP_PLASMA)
    opacity = _STRENGTH * heat[..., None]
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
    image, _ = resized(image, size)
    panels = [image, *(overlay_heat(image, heat) for heat in heats)]
    return grid(panels, min(len(panels), 4), titles=[name, *titles])
