"""Augmentation of chest films."""
import cv2
import numpy as np

from cxrdet.core.affine import sampling_matrix
from cxrdet.core.errors import ConfigError
from cxrdet.datasets.transforms.base import Transform
from cxrdet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ChestAugment(Transform):
    """Flip, shift, rotate, shear and zoom a chest film slightly; borders are reflected.

    The numbers have the same meaning as in Keras' ``ImageDataGenerator`` (see
    :func:`cxrdet.core.affine.sampling_matrix`), from which the defaults come: each is drawn uniformly between its
    limits, zoom for x and y separately, and shear is an angle in degrees, so that 0.1 hardly matters. Required and
    changed key: ``img``. It is for classification: boxes and masks stay. A film is never turned upside down.

    In a mirrored chest the heart lies on the right, and the "L" or "R" marker changes sides. The 14 findings of NIH
    ChestX-ray14 name no side, and for them mirroring doubles the variety of films. Set ``hflip=False`` where the side
    matters: labels such as "left lower lobe" or "dextrocardia", position of tubes and lines, comparison of two films.

    Args:
        hflip: mirror left and right with probability 0.5, see above.
        shift: largest shift as a share of the width and of the height.
        rotation: largest angle in degrees, to either side; 20 for transformers.
        shear: largest angle of the shear in degrees.
        zoom: largest change of the step between pixels as a share: 0.15 makes things 1.18 to 0.87
            times as large.
        prob: probability of shift, turn, shear and zoom together (not of ``hflip``).

    Raises: ConfigError if a limit is negative or so large that nothing of the film may be left.
    """

    def __init__(self, hflip: bool = True, shift: tuple[float, float] = (0.10, 0.05), *, rotation: float = 5,
                 shear: float = 0.1, zoom: float = 0.15, prob: float = 1.0) -> None:
        limits = {'shift': (*shift, 0.5), 'rotation': (rotation, 180), 'shear': (shear, 45), 'zoom': (zoom, 0.9),
                  'prob': (prob, 1)}
        for name, (*values, most) in limits.items():
            if not all(0 <= value <= most for value in values):
                raise ConfigError(f'ChestAugment: {name} must lie within 0 and {most}, got {values}.')
        if len(shift) != 2:
            raise ConfigError(f'ChestAugment: shift must be two shares, of width and height, got {shift}.')
        self.hflip = hflip
        self.shift = tuple(shift)
        self.rotation = rotation
        self.shear = shear
        self.zoom = zoom
        self.prob = prob
        self._rng = np.random.default_rng()

    def transform(self, results: dict) -> dict:
        image = results['img']
        if self.hflip and self._rng.random() < 0.5:
            image = image[:, ::-1]
        if self._rng.random() < self.prob:
            height, width = image.shape[:2]
            matrix = sampling_matrix(
                height, width, rotation=self._within(self.rotation),
                shift=(width * self._within(self.shift[0]), height * self._within(self.shift[1])),
                shear=self._within(self.shear), zoom=(1 + self._within(self.zoom), 1 + self._within(self.zoom)))
            image = cv2.warpAffine(np.ascontiguousarray(image), matrix, (width, height),
                                   flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT)
        results['img'] = np.ascontiguousarray(image)
        return results

    def _within(self, limit: float) -> float:
        return self._rng.uniform(-limit, limit)
