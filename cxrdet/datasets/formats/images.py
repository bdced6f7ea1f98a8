"""Image files, read strictly: what cannot be decoded whole is an error that names the file. No framework in here."""
import importlib
import io
import os
from pathlib import Path

import cv2
import numpy as np
from PIL.Image import DecompressionBombError

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.datasets.formats.image_header import KINDS, REPLACE, TIFF_MAGIC, ImageHeader, read_header
from cxrdet.datasets.formats.tiff import inks_to_bgr, open_tiff, turn_upright

MAX_MEGAPIXELS = 'CXRDET_MAX_MEGAPIXELS'
"""Environment variable: millions of pixels that an image may have to be decoded; 400 where it is not set."""
THIN = 50
"""An image whose sides have this ratio or more is thin: where it is resized, the short side may become 0 px."""
_TURNED_HERE = ('PNG', 'JPEG', 'WEBP')
_PILLOW = {'GIF': 'GifImagePlugin.GifImageFile', 'PNG': 'PngImagePlugin.PngImageFile',
           'WEBP': 'WebPImagePlugin.WebPImageFile', 'JPEG': 'JpegImagePlugin.JpegImageFile'}
_PILLOW_FORMATS = ('BMP', 'GIF', 'JPEG', 'JPEG2000', 'PNG', 'PPM', 'SUN', 'WEBP')  # none that runs a program
_JPEG, _HEAD = b'\xff\xd8\xff', 2 ** 16  # bytes in which the header of a photograph usually ends
_ROWS = 256  # of a deep image that are scaled at once


def read_image(path: str | Path, *, ignore_orientation: bool = False, page: int | None = None) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8, channels blue, green, red.

    - Grey and palette images become three channels. An alpha channel is left out, not blended: in
      chest films and microscopy it carries no content. So is one channel more in an RGB TIFF; other
      channels are refused. CMYK becomes RGB without a colour profile.
    - Images of more than 8 bits (PNG, TIFF; integers or floats) are scaled so that their own least
      value becomes 0 and their greatest 255, one scale for all channels: a 12-bit film in a 16-bit
      file keeps its contrast. A constant image becomes 0. A 16-bit image of multiples of 257 only is
      one of 8 bits that was widened, and becomes that again; where the middle 99.9 % of the values
      take less than half of the range, that part is scaled and the rest cut, so that a few white
      pixels (markers, dead pixels) do not cost the contrast.
    - A TIFF is shown as its tags say: where white is zero, values are turned round.
    - An orientation, of EXIF or of a TIFF, is applied, as MMCV and browsers do, unless
      ``ignore_orientation``.
    - Strict: a file cut off at any point is an error. (A damaged byte within JPEG data cannot be told
      from content.)
    - Of a file with several images (pages, slices, frames of an animation) none is taken unless
      ``page``, from 0, names it. Thumbnails, reduced copies and masks in a TIFF do not count.
    - An image of more than 400 million pixels by its header is refused, or of more millions than the
      environment variable :data:`MAX_MEGAPIXELS` says. In a TIFF, eight bytes count as a pixel.

    Raises:
        DataError: the file is missing, empty, cut off, in no known image format, too large, holds
            several images or none of that number, has channels that make no picture, or values that
            are not finite.
        ConfigError: :data:`MAX_MEGAPIXELS` is no positive number.
    """
    return decode_image(_read_bytes(path), path, ignore_orientation=ignore_orientation, page=page)


def decode_image(data: bytes, path: str | Path, *, ignore_orientation: bool = False,
                 page: int | None = None) -> np.ndarray:
    """:func:`read_image` from the bytes of a file; ``path`` is for the text of errors."""
    try:
        if data.startswith(TIFF_MAGIC):
            with open_tiff(data, frame=page or 0) as tiff:
                _check_frames(tiff.frames, page, 'TIFF')
                _check_pixels(tiff.pixels, tiff.width, tiff.height)
                image, orientation = tiff.decode(), tiff.orientation
        else:
            header = read_header(data)
            if header is None:
                raise DataError(f'{_why_undecodable(data)} {REPLACE}')
            _check_frames(header.frames, page, header.kind)
            _check_pixels(header.width * header.height, header.width, header.height)
            image, orientation = _decode(data, header, page or 0), header.orientation
        if not ignore_orientation:
            image = turn_upright(image, orientation)
        grey = image.ndim == 2 or image.shape[2] == 1
        image = image.reshape(*image.shape[:2], 1) if grey else image[:, :, :3]
        if image.dtype == np.uint16:
            image = _from_16_bits(image)
        image = np.repeat(image, 3, axis=2) if grey else np.ascontiguousarray(image)
        return image if image.dtype == np.uint8 else _to_8_bits(image)
    except DataError as error:
        raise DataError(f'{path}: {error}') from None
    except MemoryError as error:
        raise DataError(f'{path}: there is not enough memory to decode the image: {error}') from None


def read_image_size(path: str | Path, *, ignore_orientation: bool = False) -> tuple[int, int]:
    """Height and width that :func:`read_image` would give, in pixels, from the header; of the first of several images.

    Raises:
        DataError: the file is missing, empty or in no known image format.
    """
    data = _read_bytes(path, _HEAD)
    known = read_header(data) if data.startswith(_JPEG) else None  # its header ends where the scan begins
    if known is None and len(data) == _HEAD:
        data = _read_bytes(path)
    if data.startswith(TIFF_MAGIC):
        try:
            with open_tiff(data) as header:
                pass
        except DataError as error:
            raise DataError(f'{path}: {error}') from None
    else:
        header = known or read_header(data)
        if header is None or header.kind == 'AVIF':  # which may be cropped or turned
            return decode_image(data, path, ignore_orientation=ignore_orientation).shape[:2]
    turned = header.orientation >= 5 and not ignore_orientation
    return (header.width, header.height) if turned else (header.height, header.width)


def has_extra_channels(data: bytes) -> bool:
    """Whether an image, which can be read, has an alpha channel or another one that is left out, from its bytes."""
    if data.startswith(TIFF_MAGIC):
        with open_tiff(data) as tiff:
            return tiff.extra
    header = read_header(data)
    if header is not None and header.kind in ('PNG', 'JPEG', 'BMP'):
        return header.kind == 'PNG' and data[25] in (4, 6)  # the colour type of the header: grey or RGB with alpha
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return image is not None and image.ndim == 3 and image.shape[2] == 4


def _read_bytes(path: str | Path, most: int = -1) -> bytes:
    try:
        with open(path, 'rb') as stream:
            data = stream.read(most)
    except OSError as error:
        raise DataError(f'{path}: cannot read the image file: {error.strerror or error}.') from None
    if not data:
        raise DataError(f'{path}: the image file is empty (0 bytes). Replace it, or take it out of the annotations.')
    return data


def _check_frames(frames: int, page: int | None, kind: str) -> None:
    if page is None and frames > 1:
        raise DataError(f'the {kind} file holds {frames} images (pages, slices or frames), of which none is taken '
                        f'unlooked. Name one, 0 to {frames - 1}, by LoadImage(page=…) or --page, or write a file of '
                        'each.')
    if page is not None and not 0 <= page < frames:
        raise DataError(f'there is no page {page} in the {kind} file: it holds {frames} (0 to {frames - 1}).')


def _check_pixels(pixels: int, width: int, height: int) -> None:
    text = os.environ.get(MAX_MEGAPIXELS, '400')
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not limit > 0:
        raise ConfigError(f'the environment variable {MAX_MEGAPIXELS} must be a positive number, got "{text}".')
    if pixels > limit * 1e6:
        raise DataError(f'the image has {width} x {height} px (width x height): {pixels / 1e6:,.1f} million pixels '
                        f'would be decoded at once, the limit is {limit:g} million. If the file is to be trusted, '
                        f'raise it by the environment variable {MAX_MEGAPIXELS}.')


def _decode(data: bytes, header: ImageHeader, page: int) -> np.ndarray:
    """(H, W, C) as stored. Pillow reads what OpenCV reads in part or in another sense: palettes, animations, inks."""
    try:
        if header.kind == 'GIF' or header.frames > 1 or header.kind == 'WEBP' and b'ANIM' in data[:64]:
            image = _open_pillow(data, header.kind)
            image.seek(page)
            return np.asarray(image.convert('RGB'))[:, :, ::-1]
        if header.kind == 'JPEG' and header.channels == 4:
            inks = np.asarray(_open_pillow(data, 'JPEG'))  # which it turns round as if they were Adobe's
            return inks_to_bgr(inks if header.inverted else 255 - inks, full=255)
        deep_grey = header.kind == 'PNG' and data[24:26] == b'\x10\0'  # bits and colour type
        flags = (cv2.IMREAD_GRAYSCALE if deep_grey else cv2.IMREAD_COLOR) | cv2.IMREAD_ANYDEPTH
        flags |= cv2.IMREAD_IGNORE_ORIENTATION if header.kind in _TURNED_HERE else 0
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (OSError, ValueError, SyntaxError, EOFError, DecompressionBombError, cv2.error):
        image = None
    if image is None:
        raise DataError(f'{_why_undecodable(data)} {REPLACE}')
    return image


def _open_pillow(data: bytes, kind: str):
    """A file of one format: no other reader of Pillow is asked. Its own limit of pixels holds for GIF only."""
    module, _, name = _PILLOW[kind].partition('.')
    return getattr(importlib.import_module(f'PIL.{module}'), name)(io.BytesIO(data))


def _why_undecodable(data: bytes) -> str:
    """A sentence that says why OpenCV gave no image. Pillow is asked: OpenCV gives no reasons."""
    from PIL import Image, UnidentifiedImageError
    try:
        with Image.open(io.BytesIO(data), formats=_PILLOW_FORMATS) as image:
            kind = image.format
            image.load()
    except UnidentifiedImageError:
        return f'not an image in a known format ({len(data)} bytes, beginning with {data[:8]!r}). Known are ' \
               f'{", ".join(KINDS)}.'
    except Exception as error:  # Pillow's plugins raise many kinds
        cut = 'truncated' in str(error) or 'incomplete' in str(error) or not str(error)
        return f'the image is {"truncated" if cut else "damaged"} ({len(data)} bytes; {error or type(error).__name__}).'
    return f'a {kind} image that OpenCV cannot decode ({len(data)} bytes): damaged, truncated or of a kind it lacks.'


def _to_8_bits(image: np.ndarray) -> np.ndarray:
    """Scale (H, W, 3) of more than 8 bits as :func:`read_image` says; in parts, for scaling takes 8 bytes a value."""
    if image.dtype == np.float16:
        image = image.astype(np.float32)
    low, high = float(image.min()), float(image.max())
    if not np.isfinite([low, high]).all():
        raise DataError('the image holds values that are not finite (NaN or infinity).')
    scaled = np.empty(image.shape, np.uint8)
    low, high = _range(low, high, np.percentile(image, (0.05, 99.95)))
    for start in range(0, len(image), _ROWS):
        scaled[start:start + _ROWS] = _scaled(image[start:start + _ROWS], low, high)
    return scaled


def _from_16_bits(image: np.ndarray) -> np.ndarray:
    """The same of (H, W, 1 or 3), by way of a histogram and a table, which take no memory to speak of."""
    counts = 3 // image.shape[2] * sum(np.bincount(image[start:start + _ROWS].ravel(), minlength=2 ** 16)
                 for start in range(0, len(image), _ROWS))
    there = np.flatnonzero(counts)
    if (there % 257 == 0).all():  # equal bytes: 8 bits that were widened
        return image.astype(np.uint8)  # the lower byte
    ends = _percentiles(counts, (0.05, 99.95))
    low, high = _range(float(there[0]), float(there[-1]), ends)
    return _scaled(np.arange(2 ** 16, dtype=np.uint16), low, high)[image]


def _percentiles(counts: np.ndarray, percents: tuple[float, ...]) -> list[float]:
    """Those of the values 0, 1, 2 … of which there are ``counts``, as ``np.percentile`` interpolates them."""
    upto = np.cumsum(counts)
    found = []
    for percent in percents:
        place = percent / 100 * (upto[-1] - 1)
        below = int(place)
        low, high = (float(value) for value in np.searchsorted(upto, (below, min(below + 1, upto[-1] - 1)), 'right'))
        share = place - below
        found.append(high - (high - low) * (1 - share) if share >= 0.5 else low + (high - low) * share)
    return found


def _range(low: float, high: float, inner) -> tuple[float, float]:
    return tuple(inner) if 0 < inner[1] - inner[0] < (high - low) / 2 else (low, high)


def _scaled(image: np.ndarray, low: float, high: float) -> np.ndarray:
    scale = 255.0 / (high - low) if high > low else 0.0
    return np.rint((image.clip(low, high) - low) * scale).astype(np.uint8)


def image_bytes(image: np.ndarray, name: str | Path, suffix: str = '.png', *options: int) -> bytes:
    """The bytes of a file of an image (H, W, 3) or (H, W), blue first; ``options`` are those of ``cv2.imwrite``.

    Raises: DataError with its ``name`` if that fails.
    """
    done, data = cv2.imencode(suffix, image, options)
    if not done:
        raise DataError(f'{name}: the image cannot be written as {suffix[1:].upper()}.')
    return data.tobytes()
