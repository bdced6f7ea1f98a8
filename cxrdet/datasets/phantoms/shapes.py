"""Curves and fields in the frame of a body, drawn to pixels. Pure numpy and OpenCV.

Body coordinates: x to the right of the image, y downwards; the midline is x = 0 and the whole film, before it is moved,
is -0.5 <= x <= 0.5, 0 <= y <= 1.
"""
import dataclasses
import functools
import math
from collections.abc import Sequence

import cv2
import numpy as np

SHIFT = 4  # OpenCV draws with 1/16 px


def curve(points: Sequence[Sequence[float]], *, closed: bool = False, steps: int = 8) -> np.ndarray:
    """Return a Catmull-Rom curve through ``points`` (N, 2): (M, 2) float64, ``steps`` pieces between two points."""
    given = np.asarray(points, dtype=np.float64)
    if closed:
        padded = np.concatenate([given[-1:], given, given[:2]])
    else:
        padded = np.concatenate([given[:1], given, given[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    p0, p1, p2, p3 = (padded[k:len(padded) - 3 + k, None] for k in range(4))
    piece = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t ** 2
                   + (3 * p1 - p0 - 3 * p2 + p3) * t ** 3)
    line = piece.reshape(-1, 2)
    return line if closed else np.concatenate([line, given[-1:]])


@dataclasses.dataclass(frozen=True)
class Frame:
    """How the body lies on the film: pixels = matrix @ (x, y, 1).

    Attributes:
        size: Side of the film in pixels.
        matrix: (2, 3) float64 from body coordinates to pixels; pixel (i, j) has its centre at (j + 0.5, i + 0.5).
    """

    size: int
    matrix: np.ndarray

    @classmethod
    def sample(cls, rng: np.random.Generator, size: int, turn: float, move: float, zoom: float,
               larger: float = 1.0) -> 'Frame':
        """Turn by up to ``turn`` degrees, move by up to ``move`` of the side, enlarge by ``larger`` +- ``zoom``."""
        angle, scale = math.radians(rng.uniform(-turn, turn)), larger + rng.uniform(-zoom, zoom)
        c, s = scale * math.cos(angle), scale * math.sin(angle)
        centre = np.array((0.0, 0.5))
        linear = np.array(((c, -s), (s, c)))
        offset = np.array((0.5, 0.5)) + rng.uniform(-move, move, 2) - linear @ centre
        return cls(size, size * np.column_stack([linear, offset]))

    @functools.cached_property
    def scale(self) -> float:
        """Pixels in one unit of body length."""
        return float(math.sqrt(abs(np.linalg.det(self.matrix[:, :2]))))

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the body coordinates x, y of each pixel's centre, (size, size) float32 each."""
        inverse = np.linalg.inv(np.vstack([self.matrix, (0, 0, 1)]))
        j = np.arange(self.size, dtype=np.float64) + 0.5
        x = inverse[0, 0] * j[None, :] + inverse[0, 1] * j[:, None] + inverse[0, 2]
        y = inverse[1, 0] * j[None, :] + inverse[1, 1] * j[:, None] + inverse[1, 2]
        return x.astype(np.float32), y.astype(np.float32)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Return (..., 2) int32 in OpenCV's fixed-point pixels (centres at whole numbers)."""
        placed = np.asarray(points) @ self.matrix[:, :2].T + self.matrix[:, 2] - 0.5
        return np.rint(placed * (1 << SHIFT)).astype(np.int32)

    def fill(self, points: np.ndarray) -> np.ndarray:
        """Fill a polygon (N, 2); (size, size) uint8, 255 inside, smoothed edges."""
        layer = np.zeros((self.size, self.size), np.uint8)
        cv2.fillPoly(layer, [self.pixels(points)], 255, cv2.LINE_AA, SHIFT)
        return layer

    def stroke(self, lines: np.ndarray | Sequence[np.ndarray], width: float, value: float = 1.0, *,
               layer: np.ndarray | None = None) -> np.ndarray:
        """Draw lines, (M, N, 2) or a list of (N, 2), of one ``width`` (body units) and brightness ``value`` in [0, 1]
        into a ``layer`` (size, size) uint8, in place, or a new one; returns it.

        Where lines cross, the later one replaces the earlier. One thinner than a pixel is a pixel wide and fainter.
        """
        thickness = width * self.scale
        colour = round(255 * value * min(thickness, 1.0))
        batch = isinstance(lines, np.ndarray)
        pixels = list(self.pixels(lines)) if batch else [self.pixels(line) for line in lines]
        layer = np.zeros((self.size, self.size), np.uint8) if layer is None else layer
        return cv2.polylines(layer, pixels, False, colour, max(1, round(thickness)), cv2.LINE_AA, SHIFT)


def soft(layer: np.ndarray, sigma: float) -> np.ndarray:
    """Turn a uint8 layer into float32 in [0, 1], blurred by ``sigma`` pixels (a wide blur at half the resolution)."""
    image = layer.astype(np.float32) * np.float32(1 / 255)
    if sigma < 0.3:
        return image
    if sigma > 5:
        height, width = image.shape
        small = cv2.resize(image, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), sigma / 4, borderType=cv2.BORDER_REPLICATE)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)


def tight(mask: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns that a bool mask reaches over. Raises ValueError if the mask is empty."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        raise ValueError('extent of an empty mask is not defined')
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)


def extent(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Return the tight xyxy extent of a bool mask in pixels. Raises ValueError if the mask is empty."""
    rows, cols = tight(mask)
    return float(cols.start), float(rows.start), float(cols.stop), float(rows.stop)
