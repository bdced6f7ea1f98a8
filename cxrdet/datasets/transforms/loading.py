"""Reading image files strictly: what cannot be decoded whole is an error that names the file."""
import io
from pathlib import Path

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.registry import TRANSFORMS

_EXIF_ORIENTATION = 0x0112
_TIFF = (b'II*\0', b'MM\0*')


def read_image(path: str | Path, *, ignore_orientation: bool = False) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8, channels blue, green, red.

    - Grey and palette images become three channels. An alpha channel is left out, not blended: in chest films and
      microscopy it carries no content (converters add it, constant), and blending would invent a background.
    - Images of more than 8 bits (PNG, TIFF; integers or floats) are scaled so that their own least value becomes 0 and
      their greatest 255, one scale for all channels: a 12-bit film in a 16-bit file keeps its contrast, which the usual
      division by 256 would lose. A constant image becomes 0.
    - An EXIF orientation is applied, as MMCV and browsers do, unless ``ignore_orientation`` (that of a TIFF always is).
    - Strict: a file cut off at any point is an error. (A damaged byte within JPEG data cannot be told from content.)

    Raises:
        DataError: the file is missing, empty, cut off, in no known image format, or holds values that are not finite.
    """
    data = _read_bytes(path)
    try:
        image = _decode(np.frombuffer(data, np.uint8), data.startswith(_TIFF), ignore_orientation)
    except cv2.error:
        image = None
    if image is None:
        raise DataError(f'{path}: {_why_undecodable(data)} Replace the file, or take it out of the annotations.')
    if image.ndim == 2 or image.shape[2] == 1:
        image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    image = image[:, :, :3]
    return image if image.dtype == np.uint8 else _to_8_bits(image, path)


def read_image_size(path: str | Path, *, ignore_orientation: bool = False) -> tuple[int, int]:
    """Height and width that :func:`read_image` would give, in pixels, from the header where Pillow knows the format.

    Raises:
        DataError: the file is missing, empty or in no known image format.
    """
    from PIL import Image
    try:
        with Image.open(path) as image:
            width, height = image.size  # of a TIFF, turned already
            turned = not ignore_orientation and image.format != 'TIFF' and \
                image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
    except Exception:  # Pillow's plugins raise many kinds; OpenCV has the last word, and then its are the reasons
        return read_image(path, ignore_orientation=ignore_orientation).shape[:2]
    return (width, height) if turned else (height, width)


def _read_bytes(path: str | Path) -> bytes:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f'{path}: cannot read the image file: {error.strerror or error}.') from None
    if not data:
        raise DataError(f'{path}: the image file is empty (0 bytes). Replace it, or take it out of the annotations.')
    return data


def _decode(encoded: np.ndarray, is_tiff: bool, ignore_orientation: bool) -> np.ndarray | None:
    if is_tiff:  # OpenCV cannot make three channels of one channel of 32 or 64 bits, and complains on stderr
        image = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
        if image is None or image.dtype not in (np.uint8, np.uint16):
            return image
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | (cv2.IMREAD_IGNORE_ORIENTATION if ignore_orientation else 0)
    return cv2.imdecode(encoded, flags)


def _why_undecodable(data: bytes) -> str:
    """A sentence that says why OpenCV gave no image. Pillow is asked: OpenCV gives no reasons."""
    from PIL import Image, UnidentifiedImageError
    try:
        with Image.open(io.BytesIO(data)) as image:
            kind = image.format
            image.load()
    except UnidentifiedImageError:
        return f'not an image in a known format ({len(data)} bytes, beginning with {data[:8]!r}).'
    except Exception as error:  # Pillow's plugins raise many kinds
        cut = 'truncated' in str(error) or 'incomplete' in str(error) or not str(error)
        return f'the image is {"truncated" if cut else "damaged"} ({len(data)} bytes; {error or type(error).__name__}).'
    return f'a {kind} image that OpenCV cannot decode ({len(data)} bytes): damaged, truncated or of a kind it lacks.'


def _to_8_bits(image: np.ndarray, path: str | Path) -> np.ndarray:
    low, high = float(image.min()), float(image.max())
    if not np.isfinite([low, high]).all():
        raise DataError(f'{path}: the image holds values that are not finite (NaN or infinity).')
    scale = 255.0 / (high - low) if high > low else 0.0
    return np.rint((image - low) * scale).astype(np.uint8)


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Load an image file strictly, see :func:`read_image` for what becomes of grey, alpha, 16 bits and EXIF.

    Required keys: ``img_path``; ``height`` and ``width`` where the annotations give them. Added keys: ``img`` (an
    (H, W, 3) uint8 array, BGR), ``img_shape`` and ``ori_shape`` (both (H, W)). It never gives ``None``: a data set of
    MMEngine would put a random other sample in place of it.

    Args:
        ignore_orientation: do not apply an EXIF orientation.
        check_size: hold the image to the height and width of its annotations; boxes drawn on an image of another size
            (reduced, or turned by EXIF) are worth nothing.
        cache: keep decoded images in memory, for small sets and many epochs. The memory belongs to a process: with
            workers, every worker fills its own, and it lasts only with ``persistent_workers=True``.
        cache_mb: up to so many megabytes (2^20 bytes); what comes later is read from the file every time. (Nothing is
            thrown out again: in shuffled epochs over a set that does not fit, that would only empty the cache.)

    Raises:
        DataError: as :func:`read_image` does; or the image has another size than its annotations say.
        ConfigError: ``cache_mb`` is not positive.
    """

    def __init__(self, ignore_orientation: bool = False, *, check_size: bool = True, cache: bool = False,
                 cache_mb: float = 512) -> None:
        if cache_mb <= 0:
            raise ConfigError(f'cache_mb must be positive, got {cache_mb}.')
        self.ignore_orientation = ignore_orientation
        self.check_size = check_size
        self.cache = cache
        self.cache_mb = cache_mb
        self._kept: dict[str, np.ndarray] = {}
        self._room = int(cache_mb * 2 ** 20) if cache else 0

    def transform(self, results: dict) -> dict:
        """Read ``results['img_path']`` and add the image and its shapes."""
        image = self._load(str(results['img_path']))
        if self.check_size:
            self._check_size(results, image.shape[:2])
        results['img'] = image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results

    def _load(self, path: str) -> np.ndarray:
        if path in self._kept:
            return self._kept[path].copy()  # later transforms may write into it
        image = np.ascontiguousarray(read_image(path, ignore_orientation=self.ignore_orientation))
        if image.nbytes <= self._room:
            self._room -= image.nbytes
            self._kept[path] = image.copy()
        return image

    def _check_size(self, results: dict, shape: tuple[int, int]) -> None:
        declared = results.get('height') or shape[0], results.get('width') or shape[1]
        if tuple(declared) == shape:
            return
        hint = ' The image carries an EXIF orientation: if the boxes were drawn on the image as stored, set ' \
               'ignore_orientation=True.' if self._is_turned(results['img_path']) else ''
        raise DataError(
            f'{results["img_path"]}: the image is {shape[1]} x {shape[0]} (width x height), its annotations say '
            f'{declared[1]} x {declared[0]}, so their boxes do not fit it.{hint} Bring both to one size, or set '
            'check_size=False in LoadImage.')

    def _is_turned(self, path: str) -> bool:
        return not self.ignore_orientation and read_image_size(path) != read_image_size(path, ignore_orientation=True)

    def __getstate__(self) -> dict:
        """Leave the cached images behind when the transform is sent to another process."""
        return {**self.__dict__, '_kept': {}, '_room': int(self.cache_mb * 2 ** 20) if self.cache else 0}

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(ignore_orientation={self.ignore_orientation}, check_size={self.check_size}, '
                f'cache={self.cache}, cache_mb={self.cache_mb})')
