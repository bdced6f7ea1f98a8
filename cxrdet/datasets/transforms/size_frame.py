"""The size of an image before it was resized, put where a network can see it."""
import math

import numpy as np

from cxrdet.core.errors import ConfigError
from cxrdet.datasets.transforms.base import Transform
from cxrdet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class SizeFrame(Transform):
    """Paint a frame around an image whose grey value tells how large the image was before resizing.

    Crops of cells have the size of what they show, 16 px or 900, and resizing to one side length hides it. The grey
    value is 0 for ``low`` pixels, 255 for ``high``, and even in between on a logarithmic scale of sqrt(height * width).
    The frame is alike on all sides, so that mirroring and turning leave it as it is; put it behind crops and colours.
    Use it where the size of a crop is a property of the cell (one magnification, cut by one rule), and only there.

    Required keys: ``img``, (H, W, C) uint8, and ``ori_shape``, (height, width). Modified keys: ``img``. (Own work.)

    Args:
        low, high: pixels of the darkest and of the brightest frame; what lies beyond is cut.
        width: of the frame, as a share of the shorter side, in (0, 0.5).
        jitter: standard deviation of a random error of the size, in octaves (1: a factor of two); for training.

    Raises: ConfigError for values out of range.
    """

    def __init__(self, low: float = 16, high: float = 1024, *, width: float = 1 / 16, jitter: float = 0.0) -> None:
        if not 0 < low < high or not 0 < width < 0.5 or jitter < 0:
            raise ConfigError(f'SizeFrame: expected 0 < low < high, 0 < width < 0.5 and jitter >= 0, got low={low}, '
                              f'high={high}, width={width}, jitter={jitter}.')
        self.low, self.high, self.width, self.jitter = low, high, width, jitter
        self._rng = np.random.default_rng()

    def transform(self, results: dict) -> dict:
        """Return ``results`` with the frame painted into a copy of ``img``."""
        image = results['img'].copy()
        height, width = results['ori_shape'][:2]
        octaves = math.log2(math.sqrt(height * width) / self.low)
        if self.jitter:
            octaves += self._rng.normal(0, self.jitter)
        grey = round(255 * min(max(octaves / math.log2(self.high / self.low), 0.0), 1.0))
        edge = max(1, round(self.width * min(image.shape[:2])))
        for side in (image[:edge], image[-edge:], image[:, :edge], image[:, -edge:]):
            side[...] = grey
        results['img'] = image
        return results
