"""Image files, read strictly: what cannot be decoded whole is an error that names the file. No framework in here."""
import io
from pathlib import Path

import cv2
import numpy as np

from cxrdet.core.errors import DataError

__all__ = ['decode_image', 'read_image', 'read_image_size']

_EXIF_ORIENTATION = 0x0112
_TIFF = (b'II*\0', b'MM\0*')


def read_image(path: str | Path, *, ignore_orientation: bool = False) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8, channels blue, green, red.

    - Grey and palette images become three channels. An alpha channel is left out, not blended: in chest films and
      microscopy it carries no content (converters add it, constant), and blending would invent a background.
    - Images of more than 8 bits (PNG, TIFF; integers or floats) are scaled so that their own least value becomes 0 and
      their greatest 255, one scale for all channels: a 12-bit film in a 16-bit file keeps its contrast, which the usual
      division by 256 would lose. A constant image becomes 0. Two exceptions: where all values of a 16-bit image are
      multiples of 257, it is an 8-bit image that was widened, and becomes that image again; where the middle 99.9 % of
      the values take less than half of the range, that part is scaled and the rest cut, so that a few white pixels
      (markers, dead pixels) do not cost the contrast.
    - An EXIF orientation is applied, as MMCV and browsers do, unless ``ignore_orientation`` (that of a TIFF always is).
    - Strict: a file cut off at any point is an error. (A damaged byte within JPEG data cannot be told from content.)

    Raises:
        DataError: the file is missing, empty, cut off, in no known image format, or holds values that are not finite.
    """
    return decode_image(_read_bytes(path), path, ignore_orientation=ignore_orientation)


def decode_image(data: bytes, path: str | Path, *, ignore_orientation: bool = False) -> np.ndarray:
    """:func:`read_image` from the bytes of a file; ``path`` is for the text of errors."""
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
    if image.dtype == np.uint16 and (image >> 8 == image & 255).all():  # equal bytes: multiples of 257
        return (image & 255).astype(np.uint8)
    inner = np.percentile(image, (0.05, 99.95))
    if 0 < inner[1] - inner[0] < (high - low) / 2:
        low, high = inner
    scale = 255.0 / (high - low) if high > low else 0.0
    return np.rint((image.clip(low, high) - low) * scale).astype(np.uint8)
