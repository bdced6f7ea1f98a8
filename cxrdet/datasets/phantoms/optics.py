"""What a camera and a file format do to a made-up image: smooth fields, blur, noise, JPEG. Pure numpy and OpenCV."""
import contextlib
import math
from collections.abc import Iterator

import cv2
import numpy as np


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep OpenCV to one thread: on images of this size its threads cost more than they save."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cell: float) -> np.ndarray:
    """Smooth random values (H, W) float32 of mean about 0 and standard deviation about 1.

    White noise on a grid with points ``cell`` pixels apart, the size of the blobs, enlarged by cubic interpolation.
    """
    height, width = shape
    rows, cols = int(np.ceil(height / cell)) + 3, int(np.ceil(width / cell)) + 3
    grid = rng.standard_normal((rows, cols), dtype=np.float32)
    to_grid = np.array([[1 / cell, 0, 1], [0, 1 / cell, 1]], dtype=np.float64)
    field = cv2.warpAffine(grid, to_grid, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
                           borderMode=cv2.BORDER_REFLECT)
    return field * np.float32(1.25)


def uneven_light(rng: np.random.Generator, size: int, strength: float) -> np.ndarray:
    """Return a field of light: a tilted plane, a vignette and slow waves; (size, size) float32 around 1."""
    coarse = max(size // 4, 16)  # it is smooth: a quarter of the resolution will do
    axis = np.linspace(-1, 1, coarse, dtype=np.float32)
    x, y = axis[None, :], axis[:, None]
    angle, tilt, vignette = rng.uniform(0, 2 * np.pi), rng.uniform(0, strength), rng.uniform(0, strength)
    centre_x, centre_y = rng.uniform(-0.4, 0.4, 2).tolist()
    field = 1 + tilt * (math.cos(angle) * x + math.sin(angle) * y)
    field = field - 0.5 * vignette * ((x - centre_x) ** 2 + (y - centre_y) ** 2)
    field = field + 0.15 * strength * smooth_noise(rng, (coarse, coarse), coarse / 3)
    return cv2.resize(field, (size, size), interpolation=cv2.INTER_LINEAR)


def sensor_noise(rng: np.random.Generator, size: int, strength: float) -> np.ndarray:
    """Noise (size, size, 3) float32: in brightness, of standard deviation ``strength``, and weaker in colour, over two
    pixels, as in cameras that store colour at half the resolution.
    """
    noise = rng.standard_normal((size, size), dtype=np.float32)
    colour = rng.standard_normal((-(-size // 2), -(-size // 2), 3), dtype=np.float32)
    colour = cv2.resize(colour, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.float32(strength) * (cv2.merge((noise,) * 3) + colour)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur with a standard deviation in pixels; below 0.2 px the image is returned as it is."""
    if sigma < 0.2:
        return image
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Round and clip to uint8."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
