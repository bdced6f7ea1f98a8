"""Medical preprocessing: contrast, noise, sharpness and scale of grey values, for MMDetection and MMPretrain alike.

They take ``results['img']`` of three channels (blue, green, red), or of one, and change nothing but its values. An
image whose three channels are equal is worked on as one channel and stays grey. ``enabled=False`` switches any off.
"""
import cv2
import numpy as np

from cxrdet.core.errors import ConfigError, check_numbers
from cxrdet.datasets.transforms.base import Transform
from cxrdet.registry import TRANSFORMS


class _Preprocess(Transform):
    """Apply a function of the image; required and changed key: ``img``, (H, W, 3), (H, W, 1) or (H, W) uint8."""

    enabled = True

    def transform(self, results: dict) -> dict:
        if not self.enabled:
            return results
        image = results['img']
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
            raise ConfigError(f'{type(self).__name__} needs a uint8 image of one or three channels, got {image.dtype} '
                              f'of shape {image.shape}. Place it before what makes floating point numbers (ZScore, '
                              'Normalize).')
        if image.ndim == 3 and image.shape[2] == 3 and not _is_grey(image):
            results['img'] = self._colour(image)
        else:
            plane = self._grey(np.ascontiguousarray(image if image.ndim == 2 else image[:, :, 0]))
            results['img'] = plane if image.ndim == 2 else np.repeat(plane[:, :, None], image.shape[2], axis=2)
        return results

    def _grey(self, plane: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _colour(self, image: np.ndarray) -> np.ndarray:
        raise NotImplementedError


@TRANSFORMS.register_module()
class CLAHE(_Preprocess):
    """Contrast limited adaptive histogram equalisation: on grey images as they are, on colour images of L of Lab.

    Source: K. Zuiderveld, "Contrast limited adaptive histogram equalization", Graphics Gems IV, 1994, as OpenCV has it.

    Args:
        clip_limit: limit of contrast, above 0; 1 leaves the contrast of flat regions nearly as it is.
        tile_grid_size: tiles across and down, each 1 or more.
        enabled: False: leave images as they are.

    Raises: ConfigError for a value out of range, or an image that is not uint8 of one or three channels.
    """

    def __init__(self, clip_limit: float = 2.0, tile_grid_size: tuple[int, int] = (8, 8), *,
                 enabled: bool = True) -> None:
        if clip_limit <= 0 or len(tile_grid_size) != 2 or min(tile_grid_size) < 1:
            raise ConfigError('CLAHE: expected clip_limit above 0 and two tile numbers of at least 1, got '
                              f'{clip_limit} and {tuple(tile_grid_size)}.')
        self.clip_limit = clip_limit
        self.tile_grid_size = tuple(tile_grid_size)
        self.enabled = enabled

    def _grey(self, plane: np.ndarray) -> np.ndarray:
        return cv2.createCLAHE(self.clip_limit, self.tile_grid_size).apply(plane)

    def _colour(self, image: np.ndarray) -> np.ndarray:
        lab = cv2.cvtColor(image, cv2.COLOR_BGR2LAB)
        lab[:, :, 0] = self._grey(np.ascontiguousarray(lab[:, :, 0]))
        return cv2.cvtColor(lab, cv2.COLOR_LAB2BGR)


@TRANSFORMS.register_module()
class Denoise(_Preprocess):
    """Remove noise by non-local means.

    Slow: 0.05 s for 256 px, 0.7 s for 1024 px on one core. With the default strength it takes fine lung markings along
    with the noise, the more so the smaller the film: look at some films before you train on it.

    Source: A. Buades, B. Coll, J.-M. Morel, "Non-local means denoising", Image Processing On Line 1, 2011, as OpenCV
    has it (colour images in Lab).

    Args:
        strength, colour_strength: in grey levels above 0; larger removes more noise, and more detail. The second is of
            the colours of colour images.
        patch_size, search_size: sides in pixels, odd, of the patches that are compared and of the window of the search.
        enabled: False: leave images as they are.

    Raises: ConfigError for a value out of range, or an image that is not uint8 of one or three channels.
    """

    def __init__(self, strength: float = 10, colour_strength: float = 10, *, patch_size: int = 7, search_size: int = 21,
                 enabled: bool = True) -> None:
        if min(strength, colour_strength) <= 0 or not all(size > 0 and size % 2 for size in (patch_size, search_size)):
            raise ConfigError('Denoise: expected strengths above 0 and odd sizes, got '
                              f'{strength}, {colour_strength}, {patch_size} and {search_size}.')
        self.strength = strength
        self.colour_strength = colour_strength
        self.patch_size = patch_size
        self.search_size = search_size
        self.enabled = enabled

    def _grey(self, plane: np.ndarray) -> np.ndarray:
        return cv2.fastNlMeansDenoising(plane, None, self.strength, self.patch_size, self.search_size)

    def _colour(self, image: np.ndarray) -> np.ndarray:
        return cv2.fastNlMeansDenoisingColored(image, None, self.strength, self.colour_strength, self.patch_size,
                                               self.search_size)


@TRANSFORMS.register_module()
class Sharpen(_Preprocess):
    """Raise each pixel over its neighbours: ``image + amount * (8 * image - sum of the 8 neighbours)``, cut to 0..255.

    With the default ``amount`` (0 or more) it is the usual 3x3 kernel of 9 and -1; borders are reflected.

    Args:
        amount: 0 or more.
        enabled: False: leave images as they are.

    Raises: ConfigError for a value out of range, or an image that is not uint8 of one or three channels.
    """

    def __init__(self, amount: float = 1.0, *, enabled: bool = True) -> None:
        check_numbers('Sharpen', amount=(amount, '[0, inf)'))
        self.amount = amount
        self.enabled = enabled

    def _grey(self, plane: np.ndarray) -> np.ndarray:
        kernel = np.full((3, 3), -self.amount, np.float32)
        kernel[1, 1] = 1 + 8 * self.amount
        return cv2.filter2D(plane, -1, kernel, borderType=cv2.BORDER_REFLECT_101)

    _colour = _grey


@TRANSFORMS.register_module()
class ZScore(Transform):
    """Bring each image to mean 0 and standard deviation 1 over all its pixels and channels; it becomes float32.

    All channels share one mean and one deviation, so that a grey image stays grey. A constant image becomes 0. Place
    it last before packing, in place of the normalisation by the mean and deviation of ImageNet: set
    ``data_preprocessor = dict(mean=[0, 0, 0], std=[1, 1, 1])`` beside it.

    Args:
        enabled: False: leave images as they are.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled

    def transform(self, results: dict) -> dict:
        if self.enabled:
            image = results['img'].astype(np.float32)
            centred = image - image.mean(dtype=np.float64)
            spread = float(centred.std(dtype=np.float64))
            results['img'] = (centred / spread if spread > 1e-6 else np.zeros_like(centred)).astype(np.float32)
        return results


def _is_grey(image: np.ndarray) -> bool:
    return np.array_equal(image[:, :, 0], image[:, :, 1]) and np.array_equal(image[:, :, 0], image[:, :, 2])
