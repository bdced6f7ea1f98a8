"""The affine map by which an image is turned, shifted, sheared and zoomed."""
import math

import numpy as np


def sampling_matrix(height: int, width: int, *, rotation: float = 0.0, shift: tuple[float, float] = (0.0, 0.0),
                    shear: float = 0.0, zoom: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """Where each pixel of the new image is taken from in the old one: (2, 3) float64 for ``cv2.WARP_INVERSE_MAP``.

    The product ``R T S Z`` of rotation, shift, shear and zoom about the middle of the
    image, with ``S = [[cos s, 0], [-sin s, 1]]`` for (x, y), as Keras'
    ``ImageDataGenerator`` has it (``apply_affine_transform`` of ``keras_preprocessing``
    1.1, whose matrices are for (row, column)).

    Args:
        height, width: of the image, in pixels.
        rotation, shear: degrees; sheared rows move in proportion to their column.
        shift: in pixels along x and y.
        zoom: step between the pixels that are taken, along x and y: above 1 things become smaller.
    """
    turn, slant = math.radians(rotation), math.radians(shear)
    cos, sin = math.cos(turn), math.sin(turn)
    matrix = np.array([[cos, sin], [-sin, cos]])
    offset = matrix @ shift
    matrix = matrix @ [[math.cos(slant), 0], [-math.sin(slant), 1]] @ np.diag(zoom)
    middle = np.array([width - 1, height - 1]) / 2
    return np.column_stack([matrix, offset + middle - matrix @ middle])
