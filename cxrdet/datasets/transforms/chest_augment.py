"""Augmentation of chest films."""
import math

import albumentations
import cv2
from mmcv.transforms import BaseTransform

from cxrdet.core.errors import ConfigError
from cxrdet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ChestAugment(BaseTransform):
    """Mirror, shift, turn, shear and zoom a chest film a little, by albumentations; borders are reflected.

    Required and changed key: ``img``. Boxes and masks are not moved with it: it is for classification. A film is never
    turned upside down.

    ``hflip`` mirrors every second film left to right. A mirrored chest is not a chest that a patient could have: the
    heart lies on the right (as in dextrocardia or situs inversus), the gastric bubble and the liver change sides, the
    "L" or "R" marker of the film becomes its mirror image, and "left" or "right" in a report no longer fits. The 14
    findings of NIH ChestX-ray14 name no side, and for them mirroring doubles the variety of films (the default, as in
    the project it comes from). Set ``hflip=False`` where the side matters: labels such as "left lower lobe" or
    "dextrocardia", position of tubes and lines, comparison of two films, or films whose side is to be learned.

    Args:
        hflip: mirror left and right with probability 0.5, see above.
        shift: largest shift as a share of the width and of the height.
        rotation: largest angle in degrees, to either side; 20 for transformers.
        shear: largest shear along x as the tangent of the angle: 0.1 is 5.7 degrees.
        zoom: largest change of size as a share: 0.15 draws from 0.85 to 1.15, equally in x and y.
        prob: probability of shift, turn, shear and zoom together (not of ``hflip``).

    Raises:
        ConfigError: a limit is negative or so large that nothing of the film may be left.
    """

    def __init__(self, hflip: bool = True, shift: tuple[float, float] = (0.10, 0.05), *, rotation: float = 5,
                 shear: float = 0.1, zoom: float = 0.15, prob: float = 1.0) -> None:
        limits = {'shift': (*shift, 0.5), 'rotation': (rotation, 180), 'shear': (shear, 1), 'zoom': (zoom, 0.9),
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
        angle = math.degrees(math.atan(shear))
        self.augment = albumentations.Compose([
            albumentations.HorizontalFlip(p=0.5 if hflip else 0),
            albumentations.Affine(
                translate_percent={'x': (-shift[0], shift[0]), 'y': (-shift[1], shift[1])},
                rotate=(-rotation, rotation), shear={'x': (-angle, angle), 'y': (0, 0)},
                scale=(1 - zoom, 1 + zoom), keep_ratio=True, interpolation=cv2.INTER_LINEAR,
                border_mode=cv2.BORDER_REFLECT_101, p=prob)])

    def transform(self, results: dict) -> dict:
        results['img'] = self.augment(image=results['img'])['image']
        return results

    def __repr__(self) -> str:
        return (f'ChestAugment(hflip={self.hflip}, shift={self.shift}, rotation={self.rotation}, shear={self.shear}, '
                f'zoom={self.zoom}, prob={self.prob})')
