"""TIFF of all kinds, against the array that was written: by a writer of our own, Pillow, OpenCV and libtiff."""
import io
import itertools
import shutil
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from cxrdet.core.errors import DataError
from cxrdet.datasets.formats.images import decode_image, has_extra_channels, read_image, read_image_size

RNG = np.random.default_rng(0)
HEIGHT, WIDTH, TILE, ROWS = 21, 19, 16, 8
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK = 0, 1, 2, 3, 5
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
UPRIGHT = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: np.swapaxes(a, 0, 1),
           6: lambda a: np.rot90(a, 3), 7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2), 8: np.rot90}


def tiff(pages, *, bits=8, photometric=RGB, kind=UNSIGNED, planar=1, tiled=False, deflate=False, order='<', big=False,
         tags=None):
    """TIFF 6.0 or BigTIFF by the letter of the specification; ``pages``: (H, W, S) samples of each page."""
    pages = pages if isinstance(pages, list) else [pages]
    word = 'Q' if big else 'I'
    data = bytearray(struct.pack(order + ('2sHHHQ' if big else '2sHI'), b'II' if order == '<' else b'MM',
                                 *((43, 8, 0, 0) if big else (42, 0))))
    link = len(data) - struct.calcsize(word)
    for samples in pages:
        height, width, channels = samples.shape
        parts = [packed(part, bits, order) for part in segments(samples, planar, tiled)]
        parts = [zlib.compress(part) if deflate else part for part in parts]
        offsets = [len(data) + sum(map(len, parts[:k])) for k in range(len(parts))]
        data += b''.join(parts)
        entries = {256: [width], 257: [height], 258: [bits] * channels, 259: [8 if deflate else 1], 262: [photometric],
                   277: [channels], 284: [planar], 339: [kind] * channels}
        entries |= {322: [TILE], 323: [TILE], 324: offsets, 325: [len(part) for part in parts]} if tiled else {
            273: offsets, 278: [ROWS], 279: [len(part) for part in parts]}
        table = b''
        for tag, values in sorted((entries | (tags or {})).items()):
            number = 'I' if tag in (273, 279, 324, 325) else 'H'
            value = struct.pack(f'{order}{len(values)}{number}', *values)
            if len(value) > struct.calcsize(word):
                data += value
                value = struct.pack(order + word, len(data) - len(value))
            table += struct.pack(f'{order}HH{word}', tag, {'H': 3, 'I': 4}[number], len(values))
            table += value.ljust(struct.calcsize(word), b'\0')
        data += bytes(len(data) % 2)
        data[link:link + struct.calcsize(word)] = struct.pack(order + word, len(data))
        data += struct.pack(order + ('Q' if big else 'H'), len(entries | (tags or {}))) + table
        link = len(data)
        data += bytes(struct.calcsize(word))
    return bytes(data)


def segments(samples, planar, tiled):
    for plane in [samples] if planar == 1 else np.split(samples, samples.shape[2], axis=2):
        if tiled:
            plane = np.pad(plane, ((0, -plane.shape[0] % TILE), (0, -plane.shape[1] % TILE), (0, 0)), mode='edge')
        for y in range(0, plane.shape[0], TILE if tiled else ROWS):
            for x in range(0, plane.shape[1], TILE) if tiled else [0]:
                yield plane[y:y + TILE, x:x + TILE] if tiled else plane[y:y + ROWS]


def packed(part, bits, order):
    """Rows of whole bytes; the most significant bit comes first."""
    if bits % 8 == 0:
        return part.astype(part.dtype.newbyteorder(order)).tobytes()
    rows = part.reshape(len(part), -1, 1).astype(int) >> np.arange(bits)[::-1] & 1
    return np.packbits(rows.reshape(len(part), -1).astype(np.uint8), axis=1).tobytes()


def seen(samples, bits, photometric, kind):
    """What a person should see of the samples, as three channels, blue, green, red, by the rules of read_image."""
    values = samples.astype(float)
    if kind == UNSIGNED and bits <= 8:
        values = np.rint(values * 255 / (2 ** bits - 1))
        values = 255 - values if photometric == WHITE_IS_ZERO else values
    else:
        values = -values if photometric == WHITE_IS_ZERO else values
        values = np.rint((values - values.min()) * 255 / (values.max() - values.min()))
    return np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values[:, :, ::-1]


def drawn(bits, kind, channels):
    shape = (HEIGHT, WIDTH, channels)
    if kind == FLOAT:
        return RNG.uniform(-3, 5, shape).astype(f'f{bits // 8}')
    low = -2 ** (bits - 1) if kind == SIGNED else 0
    size = 1 if bits <= 8 else 2 if bits <= 16 else bits // 8
    values = RNG.integers(low, low + 2 ** min(bits, 53) - 1, shape, endpoint=True)
    values.flat[:2] = low, low + 2 ** min(bits, 53) - 1
    return values.astype(f'{"u" if kind == UNSIGNED else "i"}{size}')


def agrees(image, expected, slack=0):
    assert image.dtype == np.uint8 and image.shape == expected.shape, (image.dtype, image.shape, expected.shape)
    return np.abs(image.astype(int) - expected).max() <= slack


@pytest.mark.parametrize('bits, kind', [(1, UNSIGNED), (2, UNSIGNED), (4, UNSIGNED), (8, UNSIGNED), (10, UNSIGNED),
                                        (12, UNSIGNED), (16, UNSIGNED), (32, UNSIGNED), (64, UNSIGNED), (8, SIGNED),
                                        (16, SIGNED), (32, SIGNED), (16, FLOAT), (32, FLOAT), (64, FLOAT)])
def test_every_layout_gives_the_array_that_was_written(bits, kind):
    """Rounding of floats (16 bits have 11 digits) and of 64-bit integers may differ by one grey level."""
    layouts = itertools.product(((WHITE_IS_ZERO, 1), (BLACK_IS_ZERO, 1), (RGB, 1), (RGB, 2)), (False, True),
                                (False, True), '<>', (False, True))
    for (photometric, planar), tiled, deflate, order, big in layouts:
        samples = drawn(bits, kind, 3 if photometric == RGB else 1)
        layout = dict(photometric=photometric, planar=planar, tiled=tiled, deflate=deflate, order=order, big=big)
        image = decode_image(tiff(samples, bits=bits, kind=kind, **layout), 'a.tif')
        assert agrees(image, seen(samples, bits, photometric, kind), int(kind == FLOAT or bits > 16)), layout


@pytest.mark.parametrize('bits', [1, 4, 8])
@pytest.mark.parametrize('width', [1, 257], ids=['palette of 8 bits', 'palette of 16 bits'])
def test_palettes(bits, width):
    index, palette = drawn(bits, UNSIGNED, 1), RNG.integers(0, 256, (3, 2 ** bits))
    palette[0, 0] = 255
    data = tiff(index, bits=bits, photometric=PALETTE, tags={320: list((palette * width).ravel())})
    assert agrees(decode_image(data, 'a.tif'), palette.T[index[..., 0]][:, :, ::-1])


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize('planar', [1, 2])
def test_inks(order, planar):
    for bits, full in ((8, 255), (16, 65535)):
        inks = drawn(bits, UNSIGNED, 4)
        light = (full - inks[..., :3].astype(float)) * (full - inks[..., 3:].astype(float)) / full
        expected = np.rint(light)[..., ::-1]
        expected = expected if bits == 8 else np.rint((expected - expected.min()) * 255 / np.ptp(expected))
        image = decode_image(tiff(inks, bits=bits, photometric=CMYK, planar=planar, order=order), 'a.tif')
        assert agrees(image, expected)


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_orientation(tmp_path, bits, orientation):
    samples = drawn(bits, UNSIGNED, 3)
    path = tmp_path / 'a.tif'
    path.write_bytes(tiff(samples, bits=bits, tags={274: [orientation]}))
    expected = UPRIGHT[orientation](seen(samples, bits, RGB, UNSIGNED))
    assert agrees(read_image(path), expected) and read_image_size(path) == expected.shape[:2]
    assert agrees(read_image(path, ignore_orientation=True), seen(samples, bits, RGB, UNSIGNED))
    assert read_image_size(path, ignore_orientation=True) == (HEIGHT, WIDTH)


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('photometric, tags', [(RGB, {338: [2]}), (RGB, {338: [1]}), (RGB, {338: [0]}), (RGB, {}),
                                               (BLACK_IS_ZERO, {338: [2]}), (WHITE_IS_ZERO, {338: [1]})])
def test_alpha_is_left_out(bits, photometric, tags):
    colours = 3 if photometric == RGB else 1
    for planar in (1, 2):
        samples = drawn(bits, UNSIGNED, colours + 1)
        samples[..., -1] = 7
        data = tiff(samples, bits=bits, photometric=photometric, planar=planar, tags=tags)
        assert agrees(decode_image(data, 'a.tif'), seen(samples[..., :colours], bits, photometric, UNSIGNED))
        assert has_extra_channels(data) and not has_extra_channels(tiff(samples[..., :1], photometric=BLACK_IS_ZERO))


@pytest.mark.parametrize('photometric, channels, text', [
    (RGB, 5, '5 channels, of which .* explains 3'), (BLACK_IS_ZERO, 2, '2 channels, of which .* explains 1'),
    (BLACK_IS_ZERO, 5, '5 channels'), (CMYK, 7, '7 channels'), (32803, 1, 'photometric interpretation is CFA'),
    (PALETTE, 1, 'no palette')])
def test_kinds_that_make_no_picture_are_refused_by_name(photometric, channels, text):
    with pytest.raises(DataError, match=rf'a\.tif: .*{text}'):
        decode_image(tiff(drawn(8, UNSIGNED, channels), photometric=photometric), 'a.tif')


def test_pages():
    first, second = drawn(8, UNSIGNED, 3), drawn(8, UNSIGNED, 3)
    for order, big in itertools.product('<>', (False, True)):
        data = tiff([first, second], order=order, big=big)
        with pytest.raises(DataError, match=r'a\.tif: the TIFF file holds 2 images .*page='):
            decode_image(data, 'a.tif')
        assert agrees(decode_image(data, 'a.tif', page=0), first[..., ::-1])
        assert agrees(decode_image(data, 'a.tif', page=1), second[..., ::-1])
        with pytest.raises(DataError, match=r'a\.tif: there is no page 2 in the TIFF file: it holds 2'):
            decode_image(data, 'a.tif', page=2)
    one = tiff(first)
    np.testing.assert_array_equal(decode_image(one, 'a.tif', page=0), decode_image(one, 'a.tif'))


@pytest.mark.parametrize('kind', ['reduced', 'reduced, old tag', 'mask'])
def test_thumbnails_and_masks_are_no_pages(kind):
    import tifffile
    image, stream = drawn(8, UNSIGNED, 3), io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        writer.write(image, photometric='rgb')
        if kind == 'mask':
            writer.write(np.zeros((HEIGHT, WIDTH), bool), photometric='mask', subfiletype=4)
        else:
            extra = dict(subfiletype=1) if kind == 'reduced' else dict(extratags=[(255, 3, 1, 2, True)])
            writer.write(image[::2, ::2], photometric='rgb', **extra)
    assert agrees(decode_image(stream.getvalue(), 'a.tif'), image[..., ::-1])


def test_stacks_behind_one_directory():
    """ImageJ writes one directory for a stack, tifffile may; a volume has a depth; a pyramid, sub-directories."""
    import tifffile
    stack = RNG.integers(0, 256, (3, HEIGHT, WIDTH), dtype=np.uint8)
    for options in (dict(imagej=True), dict(metadata={}, truncate=True), dict(volumetric=True)):
        stream = io.BytesIO()
        tifffile.imwrite(stream, stack, photometric='minisblack', **options)
        with pytest.raises(DataError, match='holds 3 images'):
            decode_image(stream.getvalue(), 'a.tif')
        for page in range(3):
            image = decode_image(stream.getvalue(), 'a.tif', page=page)
            assert agrees(image, np.repeat(stack[page][..., None], 3, 2)), options
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, ome=True) as writer:
        writer.write(stack[0], subifds=1, photometric='minisblack')
        writer.write(stack[0, ::2, ::2], subfiletype=1, photometric='minisblack')
    assert agrees(decode_image(stream.getvalue(), 'a.ome.tif'), np.repeat(stack[0][..., None], 3, 2))


PILLOW = [(mode, compression) for mode in ('1', 'L', 'P', 'RGB', 'RGBA', 'LA', 'CMYK', 'I;16', 'I', 'F')
          for compression in ('raw', 'tiff_lzw', 'tiff_deflate', 'packbits')]
PILLOW += [('1', 'group3'), ('1', 'group4'), ('L', 'jpeg'), ('RGB', 'jpeg'), ('CMYK', 'jpeg'), ('YCbCr', 'raw')]


@pytest.mark.parametrize('big', [False, True])
def test_files_of_pillow(big):
    for mode, compression in PILLOW:
        smooth = np.add.outer(np.arange(HEIGHT) * 6, np.arange(WIDTH) * 7).astype(np.uint8)
        source = Image.fromarray(np.stack([smooth, smooth[::-1], 255 - smooth], 2))
        if mode in ('I;16', 'I', 'F'):
            deep = smooth.astype({'I;16': np.uint16, 'I': np.int32, 'F': np.float32}[mode]) * 11
            source, expected = Image.fromarray(deep), np.rint(smooth * (255 / smooth.max()))
            expected = np.repeat(expected[..., None], 3, 2)
        else:
            source = source.convert(mode)
            expected = np.array(source.convert('RGB'))[..., ::-1]
        stream = io.BytesIO()
        source.save(stream, 'TIFF', compression=compression, big_tiff=big)
        slack = {'jpeg': 6, 'raw': 3 if mode == 'YCbCr' else 0}.get(compression, 0)
        assert agrees(decode_image(stream.getvalue(), 'a.tif'), expected, slack), (mode, compression)


def test_files_of_opencv():
    """Predictor, 16 bits and floats as OpenCV's libtiff writes them."""
    for dtype in (np.uint8, np.uint16, np.float32, np.float64):
        for compression, predictor in itertools.product((1, 5, 8, 32773), (1, 2, 3)):
            if (predictor == 3) != (np.dtype(dtype).kind == 'f') and predictor > 1 or compression in (1, 32773) \
                    and predictor > 1:
                continue
            samples = drawn(np.dtype(dtype).itemsize * 8, FLOAT if np.dtype(dtype).kind == 'f' else UNSIGNED, 3)
            data = cv2.imencode('.tiff', samples[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, compression,
                                                              cv2.IMWRITE_TIFF_PREDICTOR, predictor])[1].tobytes()
            expected = seen(samples, samples.itemsize * 8, RGB, FLOAT if np.dtype(dtype).kind == 'f' else UNSIGNED)
            assert agrees(decode_image(data, 'a.tif'), expected, 1), (dtype, compression, predictor)


@pytest.mark.skipif(not shutil.which('tiffcp'), reason='no tiffcp: libtiff-tools are not installed')
def test_files_of_tiffcp(tmp_path):
    """libtiff's own rewriting of a file: byte order, planes, tiles, compressions with predictors."""
    samples = {bits: drawn(bits, UNSIGNED, 3) for bits in (8, 16)}
    for bits, image in samples.items():
        (tmp_path / f'{bits}.tif').write_bytes(tiff(image, bits=bits))
    for options in ('-c lzw:2 -B', '-c lzw:2 -L -p separate', '-c zip:2 -t -w 16 -l 16', '-c packbits -B -8',
                    '-c zip:2 -B -p separate -t -w 16 -l 16', '-c none -r 3', '-c lzma', '-f lsb2msb -c none'):
        for bits, image in samples.items():
            if bits > 8 and 'separate' in options:
                continue  # which tiffcp does with 8 bits only
            subprocess.run(['tiffcp', *options.split(), tmp_path / f'{bits}.tif', tmp_path / 'a.tif'], check=True)
            assert agrees(read_image(tmp_path / 'a.tif'), seen(image, bits, RGB, UNSIGNED)), (options, bits)


@pytest.mark.parametrize('tiled', [False, True])
@pytest.mark.parametrize('deflate', [False, True])
def test_cut_off_anywhere(tiled, deflate):
    data = tiff([drawn(16, UNSIGNED, 3)], bits=16, tiled=tiled, deflate=deflate)
    for length in (7, 8, 100, len(data) // 2, len(data) - 60, len(data) - 5):
        with pytest.raises(DataError, match=r'a\.tif: .*(truncated|damaged)'):
            decode_image(data[:length], 'a.tif')
    two = tiff([drawn(8, UNSIGNED, 3), drawn(8, UNSIGNED, 3)], tiled=tiled, deflate=deflate)
    with pytest.raises(DataError, match='truncated'):
        decode_image(two[:len(two) // 2 + 30], 'a.tif', page=0)


def test_missing_packages_are_told_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, 'imagecodecs', None)
    with pytest.raises(DataError, match=r'a\.tif: .*pip install tifffile imagecodecs'):
        decode_image(tiff(drawn(8, UNSIGNED, 3)), 'a.tif')
