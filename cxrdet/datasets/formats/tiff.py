"""TIFF and BigTIFF of all kinds that show a picture: samples as the tags say, by tifffile and imagecodecs.

tifffile gives the samples as stored; what the tags say of them is followed here: white that is zero, palettes, inks,
planes, fewer than 8 bits, extra samples. What is rare and of 8 bits or one (YCbCr without JPEG, CIELab, fax) is left
to OpenCV.
"""
import io
import math
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import cv2
import numpy as np

from cxrdet.core.errors import DataError
from cxrdet.datasets.formats.image_header import REPLACE, read_header

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _INKS, _YCBCR, _LAB = 0, 1, 2, 3, 5, 6, 8
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _INKS: 4, _YCBCR: 3, _LAB: 3}
_NEEDED = {254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 332,
           338, 339, 347, 32997, 32998}  # tags without which pixels are read wrongly
_FAX = (2, 3, 4)
_JPEG = 7
_OLD = {6}  # JPEG of TIFF 6.0
_OF_LIBTIFF = {1, *_FAX, 5, 8, 32773, 32946}  # compressions of OpenCV's libtiff; others come out black, untold
_BOUNDED = {1, 5, 8, 32773, 32946, 34925, 50000}  # compressions that give as many bytes as are asked for
_WITH_HEADER = {_JPEG, 33005, 34712, 34892, 34933, 50001}  # images in strips or tiles: JPEG, JPEG 2000, PNG, WebP


class TiffHeader(NamedTuple):
    """An open TIFF file.

    Attributes:
        height, width: of the frame, in pixels, as stored.
        frames: images in the file; thumbnails, reduced copies and masks do not count.
        orientation: 1 to 8, as in EXIF.
        extra: whether there are samples beside the grey or the colours (alpha), which are left out.
        pixels: that are decoded at once: of the frame, or of a tile where that is larger; those of more than eight
            bytes count as several.
        decode: () -> the samples, (H, W) or (H, W, 3), blue, green, red, of any real type.
    """

    height: int
    width: int
    frames: int
    orientation: int
    extra: bool
    pixels: int
    decode: Callable[[], np.ndarray]


@contextmanager
def open_tiff(data: bytes, *, frame: int = 0) -> Iterator[TiffHeader]:
    """Read the tags of a TIFF file from its bytes. All but ``frames`` is of ``frame``, or of 0 where there is no such.

    Raises:
        DataError: the file is cut off or damaged, of a kind that is not read, or the packages that read it are not
            there. The text names no file. Raised within the block, too.
    """
    try:
        import imagecodecs  # noqa: F401  without it, tifffile reads hardly any compression
        import tifffile
    except ImportError as error:
        raise DataError('reading TIFF images takes the packages tifffile and imagecodecs: pip install tifffile '
                        f'imagecodecs ({error}).') from None
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            yield _header(file, data, frame)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # tifffile and the codecs raise many kinds
        raise DataError(f'the image is damaged or truncated, or of a kind that is not read (TIFF, {len(data)} bytes; '
                        f'{str(error) or type(error).__name__}). {REPLACE}') from None


def _header(file, data: bytes, frame: int) -> TiffHeader:
    pages = [page.aspage() for page in file.pages]
    _check_directories(file, pages, data)
    pages = _pictures(pages)
    stacked = _stacked(file, pages)
    page = pages[frame if frame < len(pages) else 0]
    turn = page.tags.valueof(274, 1)
    pixels = page.imagewidth * page.imagelength * max(stacked, page.imagedepth)
    if page.is_tiled:
        pixels = max(pixels, page.tilewidth * page.tilelength * max(page.tiledepth, 1))
    bits = page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)
    pixels = max(pixels, pixels * page.samplesperpixel * bits // 64)
    extra = page.samplesperpixel > _COLOURS.get(_photometric(page), page.samplesperpixel)
    return TiffHeader(page.imagelength, page.imagewidth, max(stacked, len(pages)), turn if turn in range(1, 9) else 1,
                      extra, pixels, lambda: _decode(file, page, data, frame if stacked > 1 else None))


def _check_directories(file, pages: list, data: bytes) -> None:
    """tifffile goes on without what it could not read: tags beyond the end of the file, and pages."""
    if not pages:
        raise DataError(f'the image is truncated or damaged ({len(data)} bytes): the TIFF holds no image directory. '
                        f'{REPLACE}')
    layout = file.tiff
    for page in pages:
        count, = struct.unpack_from(layout.tagnoformat, data, page.offset)
        start = page.offset + layout.tagnosize
        codes = [struct.unpack_from(file.byteorder + 'H', data, start + k * layout.tagsize)[0] for k in range(count)]
        lost = [code for code in codes if code in _NEEDED and code not in page.tags]
        if lost:
            raise DataError(f'the image is truncated or damaged ({len(data)} bytes): TIFF tag {lost[0]} cannot be '
                            f'read. {REPLACE}')
    following, = struct.unpack_from(layout.offsetformat, data, start + count * layout.tagsize)
    if following >= len(data):
        raise DataError(f'the image is truncated ({len(data)} bytes): the next TIFF page would stand at {following}. '
                        f'{REPLACE}')


def _pictures(pages: list) -> list:
    """The pages without reduced copies and masks. Where all are that, the full image may stand in a sub-directory."""
    found = [page for page in pages if not page.is_reduced and not page.is_mask]
    if not found and any(page.subifds for page in pages):
        raise DataError('the TIFF pages are reduced copies of an image in a sub-directory, as cameras write them '
                        '(DNG). Convert it to a plain TIFF or PNG.')
    return found or pages[:1]


def _stacked(file, pages: list) -> int:
    """Images behind one directory: slices of a volume, or a stack of ImageJ, tifffile or MetaMorph; 1 for none."""
    page = pages[0]
    if len(pages) > 1:
        if any(page.imagedepth > 1 for page in pages):
            raise DataError('the TIFF image holds several volumes, which are not read. Write one image a file.')
        return 1
    if page.imagedepth > 1:
        return page.imagedepth
    if page.is_imagej or page.is_shaped or page.is_stk:
        return max(file.series[0].size // max(page.size, 1), 1)
    return 1


def _photometric(page) -> int:
    if 262 in page.tags or page.compression == 6:
        return int(page.photometric)
    if page.samplesperpixel >= 3:  # the tag is missing: as libtiff
        return _RGB
    return _WHITE_IS_ZERO if page.compression in _FAX else _BLACK_IS_ZERO


def _decode(file, page, data: bytes, slice_of_stack: int | None) -> np.ndarray:
    photometric = _photometric(page)
    _check_kind(page, photometric)
    _check_segments(page, data)
    if _is_for_opencv(page, photometric):
        return _by_opencv(page, data)
    if slice_of_stack is None or page.imagedepth > 1:
        samples = page.asarray(squeeze=False, maxworkers=1)  # (planes, depth, H, W, samples)
        samples = samples[:, slice_of_stack or 0]
    else:
        samples = file.series[0].asarray(maxworkers=1).reshape(-1, *page.shaped)[slice_of_stack, :, 0]
    samples = np.moveaxis(samples, 0, 2).reshape(page.imagelength, page.imagewidth, -1)
    if photometric == _PALETTE:
        return _by_palette(page, samples[..., 0])
    bits = page.bitspersample
    samples = _of_whole_bytes(samples[..., :_COLOURS[photometric]], bits)
    if photometric == _INKS:
        return inks_to_bgr(samples, full=2 ** max(bits, 8) - 1)
    if photometric == _WHITE_IS_ZERO:
        samples = _negative(samples, max(bits, 8))
    return samples[..., ::-1] if samples.shape[2] == 3 else samples[..., 0]


def _check_kind(page, photometric: int) -> None:
    said = getattr(page.photometric, 'name', str(photometric))
    colours = _COLOURS.get(photometric)
    if colours is None:
        raise DataError(f'a TIFF image whose photometric interpretation is {said} is not read. Convert it to grey or '
                        'RGB.')
    extra = page.samplesperpixel - colours
    explained = photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) or set(page.extrasamples) & {1, 2}
    if extra < 0 or extra > 1 or extra == 1 and not explained:
        raise DataError(f'the TIFF image has {page.samplesperpixel} channels, of which its photometric interpretation '
                        f'({said}) explains {colours}. Write the channels that are meant to be seen as grey or RGB.')
    if photometric == _INKS and page.tags.valueof(332, 1) != 1:
        raise DataError('the TIFF image has inks other than CMYK (InkSet 2). Convert it to RGB.')
    if not isinstance(page.bitspersample, int) or page.dtype is None or page.dtype.kind not in 'buif' \
            or photometric == _PALETTE and page.colormap is None:
        raise DataError(f'the TIFF image has samples of {page.bitspersample} bits in sample format '
                        f'{int(page.sampleformat)}{", and no palette" if photometric == _PALETTE else ""}, which are '
                        'not read. Convert it to integers or floats of one depth.')
    by_opencv = _is_for_opencv(page, photometric)
    if page.compression not in (_OLD | _OF_LIBTIFF if by_opencv else _BOUNDED | _WITH_HEADER) \
            or by_opencv and page.bitspersample != (1 if page.compression in _FAX else 8):
        compression = getattr(page.compression, 'name', page.compression)
        raise DataError(f'a TIFF image of {page.bitspersample} bits with compression {compression} and photometric '
                        f'interpretation {said} is not read. Convert it to grey or RGB without compression.')


def _is_for_opencv(page, photometric: int) -> bool:
    """Fax, which older tifffile does not read, and colours that it gives as stored.

    YCbCr of a JPEG it turns into RGB, if its planes are not apart.
    """
    turned = page.compression == _JPEG and page.planarconfig == 1
    return page.compression in (*_FAX, *_OLD) or photometric == _LAB or photometric == _YCBCR and not turned


def _check_segments(page, data: bytes) -> None:
    planes, _, height, width, _ = page.shaped
    offsets, counts = page.dataoffsets, page.databytecounts
    if page.compression in _OLD:
        return
    if page.is_contiguous and not page.is_subsampled:
        offsets, counts, expected = offsets[:1], (page.nbytes,), 1
    elif page.is_tiled:
        expected = planes * math.ceil(page.imagedepth / max(page.tiledepth, 1)) * math.ceil(
            height / page.tilelength) * math.ceil(width / page.tilewidth)
        height, width = page.tilelength, page.tilewidth
    else:
        expected = planes * page.imagedepth * math.ceil(height / page.rowsperstrip)
        height = page.rowsperstrip
    there = sum(start > 0 and count > 0 and start + count <= len(data) for start, count in zip(offsets, counts))
    if there < expected:
        raise DataError(f'the image is truncated (TIFF, {len(data)} bytes): {expected - there} of {expected} strips or '
                        f'tiles are not there. {REPLACE}')
    if page.compression in _WITH_HEADER:
        for start, count in zip(offsets, counts):
            header = read_header(data[start:start + count])
            if header is None or header.height > height or header.width > width:
                held = 'no such' if header is None else f'a {header.kind} of {header.width} x {header.height} px'
                raise DataError(f'the image is damaged: a strip or tile of {width} x {height} px holds {held} '
                                f'image. {REPLACE}')


def _by_palette(page, index: np.ndarray) -> np.ndarray:
    palette = np.asarray(page.colormap)  # (3, 2 ** bits) of 16 bits; of 8 bits where a writer did not know better
    palette = (palette >> 8 if palette.max() > 255 else palette).astype(np.uint8)
    return np.ascontiguousarray(palette[::-1].T)[index.astype(np.uint16)]  # of one bit they come as booleans


def _of_whole_bytes(samples: np.ndarray, bits: int) -> np.ndarray:
    if bits >= 8:
        return samples
    return np.rint(np.arange(2 ** bits) * (255 / (2 ** bits - 1))).astype(np.uint8)[samples.astype(np.uint8)]


def _negative(samples: np.ndarray, bits: int) -> np.ndarray:
    if samples.dtype.kind == 'f':
        return -samples
    return ~samples if samples.dtype.kind == 'i' else samples.dtype.type(2 ** bits - 1) - samples


def inks_to_bgr(inks: np.ndarray, *, full: int) -> np.ndarray:
    """(H, W, 4) cyan, magenta, yellow, black, uint8 or uint16, as (H, W, 3) blue, green, red, without a colour profile.

    A colour is ``(full - ink) * (full - black) / full``, rounded; ``full`` is the value of full ink. Raises DataError
    for another type.
    """
    wide = {'uint8': np.uint16, 'uint16': np.uint32}.get(inks.dtype.name)
    if wide is None:
        raise DataError(f'CMYK of {inks.dtype.name} is not read. Convert it to RGB.')
    image = np.empty((*inks.shape[:2], 3), inks.dtype)
    for row, part in zip(image, inks):  # row by row, for the products are wide
        light = (full - part).astype(wide)
        row[:] = (light[:, 2::-1] * light[:, 3:] + full // 2) // full
    return image


def _by_opencv(page, data: bytes) -> np.ndarray:
    """Kinds that libtiff turns into RGB; it turns them upright, too, which is undone here."""
    done, images = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR, range=(page.index,
                                                                                           page.index + 1))
    if not done or not images:
        raise DataError(f'the image is damaged (TIFF, {len(data)} bytes). {REPLACE}')
    turn = page.tags.valueof(274, 1)
    return turn_upright(images[0], {6: 8, 8: 6}.get(turn, turn))


def turn_upright(image: np.ndarray, orientation: int | None) -> np.ndarray:
    """Turn and mirror an image (H, W) or (H, W, C) as its EXIF orientation, 1 to 8, says; a view."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image
