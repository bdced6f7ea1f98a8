"""What is asked of a file before it is decoded: size, so that bombs do not go off; frames, orientation, its format."""
import ast
import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

import cxrdet
from cxrdet.core.errors import ConfigError, DataError
from cxrdet.datasets.formats import images as image_io
from cxrdet.datasets.formats.image_header import read_header
from cxrdet.datasets.formats.images import MAX_MEGAPIXELS, decode_image, read_image_size

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 34, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (20, 34), dtype=np.uint16)


def pillow(image, kind, **options):
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind, **options)
    return stream.getvalue()


def opencv(image, suffix):
    return cv2.imencode(suffix, image)[1].tobytes()


EXACT = {'PNG': pillow(RGB, 'PNG'), 'BMP': pillow(RGB, 'BMP'), 'PPM': pillow(RGB, 'PPM'), 'TIFF': pillow(RGB, 'TIFF'),
         'WebP without loss': pillow(RGB, 'WEBP', lossless=True), 'PAM': opencv(RGB[..., ::-1], '.pam'),
         'Sun': opencv(RGB[..., ::-1], '.ras'), 'JPEG 2000': pillow(RGB, 'JPEG2000'),
         'code stream': pillow(RGB, 'JPEG2000', no_jp2=True),
         'PPM with remarks': b'P6 # made by hand\n# and more\n34\t20\n255\n' + RGB.tobytes()}
OTHERS = {'JPEG': pillow(RGB, 'JPEG'), 'progressive JPEG': pillow(RGB, 'JPEG', progressive=True),
          'GIF': pillow(RGB, 'GIF'), 'WebP': pillow(RGB, 'WEBP'),
          'WebP with alpha': pillow(Image.fromarray(np.dstack([RGB, RGB[..., 0]])), 'WEBP'),
          'PGM': pillow(RGB[..., 0], 'PPM'), 'PBM': pillow(Image.fromarray(RGB).convert('1'), 'PPM'),
          '16-bit PNG': pillow(DEEP, 'PNG'), '16-bit PGM': opencv(DEEP, '.pgm'), 'AVIF': pillow(RGB, 'AVIF'),
          'Radiance': opencv(RGB.astype(np.float32), '.hdr'), 'PFM': opencv(RGB.astype(np.float32), '.pfm'),
          '16-bit TIFF': opencv(DEEP, '.tif'), 'OS/2 BMP': b'BM' + bytes(12) + struct.pack('<IHHHH', 12, 34, 20, 1, 24)
          + bytes(20 * 104)}


@pytest.mark.parametrize('kind', [*EXACT, *OTHERS])
def test_size_and_limit_of_every_format(kind, tmp_path, monkeypatch):
    data = (EXACT | OTHERS)[kind]
    (tmp_path / 'a.img').write_bytes(data)
    image = decode_image(data, 'a.img')
    assert image.shape == (20, 34, 3) and read_image_size(tmp_path / 'a.img') == (20, 34)
    if kind in EXACT:
        np.testing.assert_array_equal(image, RGB[..., ::-1])
    monkeypatch.setenv(MAX_MEGAPIXELS, '0.00068')  # 680 pixels
    np.testing.assert_array_equal(decode_image(data, 'a.img'), image)
    monkeypatch.setenv(MAX_MEGAPIXELS, '0.000679')
    monkeypatch.setattr(cv2, 'imdecode', None)
    monkeypatch.setattr(image_io, '_open_pillow', None)
    monkeypatch.setattr('tifffile.TiffPage.asarray', None)
    with pytest.raises(DataError, match=rf'a\.img: the image has 34 x 20 px.*{MAX_MEGAPIXELS}'):
        decode_image(data, 'a.img')


@pytest.mark.parametrize('value', ['0', '-3', 'many', 'nan', ''])
def test_limit_that_makes_no_sense(value, monkeypatch):
    monkeypatch.setenv(MAX_MEGAPIXELS, value)
    with pytest.raises(ConfigError, match=MAX_MEGAPIXELS):
        decode_image(EXACT['PNG'], 'a.png')


def chunk(name, data):
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


def png(width, height, bits, colour):
    head = struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + b''.join([chunk(b'IHDR', head), chunk(b'IDAT', zlib.compress(bytes(1000))),
                                            chunk(b'IEND', b'')])


def patched(data, mark, values, skip=0):
    place = data.index(mark) + len(mark) + skip
    return data[:place] + values + data[place + len(values):]


def jpeg_in_tiff():
    """A tile of 16 x 16 px whose JPEG says that it has 65,000 x 65,000."""
    import tifffile
    stream = io.BytesIO()
    tifffile.imwrite(stream, RGB[:16, :16], photometric='rgb', compression='jpeg', tile=(16, 16))
    return patched(stream.getvalue(), b'\xff\xc0\x00\x11\x08', struct.pack('>HH', 65000, 65000))


def tile_in_tiff():
    """An image of 34 x 20 px in one tile of 65,520 x 65,520."""
    import tifffile
    stream = io.BytesIO()
    tifffile.imwrite(stream, RGB, photometric='rgb', compression='deflate', tile=(64, 64))
    data = stream.getvalue()
    for tag in (322, 323):
        kind = 3 if struct.pack('<HHI', tag, 3, 1) in data else 4
        data = patched(data, struct.pack('<HHI', tag, kind, 1), struct.pack('<I', 65520))
    return data


def decoy_in_jpeg2000():
    """A box before the code stream holds what looks like the beginning of one, of 10 x 10 px."""
    data = patched(EXACT['JPEG 2000'], b'\xff\x4f\xff\x51', struct.pack('>II', 60000, 60000), 4)
    place, decoy = data.index(b'jp2c') - 4, b'\xff\x4f\xff\x51' + struct.pack('>HH4I', 47, 0, 10, 10, 0, 0) + bytes(30)
    return data[:place] + struct.pack('>I4s', 24 + len(decoy), b'uuid') + bytes(16) + decoy + data[place:]


def wide_samples_in_tiff():
    """19,900 x 19,900 px of three numbers of eight bytes, within the limit of pixels, but of 9 GB."""
    import tifffile
    stream = io.BytesIO()
    tifffile.imwrite(stream, RGB.astype(np.float64), photometric='rgb', compression='deflate')
    data = stream.getvalue()
    for tag in (256, 257, 278):
        kind = 3 if struct.pack('<HHI', tag, 3, 1) in data else 4
        data = patched(data, struct.pack('<HHI', tag, kind, 1), struct.pack('<I', 19900))
    return data


BOMBS = {'PNG of one bit': png(60000, 60000, 1, 0), 'PNG of 16 bits': png(30000, 30000, 16, 0),
         'PNG of 4 x 16 bits': png(30000, 30000, 16, 6),
         'JPEG': patched(OTHERS['JPEG'], b'\xff\xc0\x00\x11\x08', struct.pack('>HH', 65000, 65000)),
         'BMP': patched(EXACT['BMP'], b'BM', struct.pack('<ii', 100000, -100000), 16),
         'GIF': patched(OTHERS['GIF'], b'GIF87a', struct.pack('<HH', 65535, 65535)),
         'GIF beyond its screen': patched(OTHERS['GIF'], b',\0\0\0\0', struct.pack('<HH', 65535, 65535)),
         'WebP': patched(OTHERS['WebP with alpha'], b'VP8X', b'\xff\x7f\0\xff\x7f\0', 8),
         'JPEG 2000 that differs from its box': patched(EXACT['JPEG 2000'], b'\xff\x4f\xff\x51',
                                                        struct.pack('>II', 60000, 60000), 4),
         'PPM': b'P6\n100000 100000\n255\n' + bytes(100),
         'PAM': b'P7\nHEIGHT 99999\nWIDTH 99999\nDEPTH 3\nMAXVAL 255\nENDHDR\n',
         'TIFF': patched(EXACT['TIFF'], struct.pack('<HHI', 256, 4, 1), struct.pack('<I', 60000000)),
         'JPEG 2000 with a decoy': decoy_in_jpeg2000(), 'samples of a TIFF': wide_samples_in_tiff(),
         'GIF with a byte between its blocks': (
             b'GIF89a' + struct.pack('<HH', 10, 10) + b'\x80\0\0' + bytes(6) + b'\x01,'
             + struct.pack('<HHHH', 0, 0, 60000, 60000) + b'\0\x02\x02\x4c\x01\0;'),
         'Radiance with blanks': (b'#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y  30000 +X 30000\n\n-Y 10 +X 10\n'
                                  + bytes(99)),
         'tile of a TIFF': tile_in_tiff(), 'JPEG in a TIFF': jpeg_in_tiff()}


@pytest.mark.parametrize('kind', list(BOMBS))
def test_bombs_are_refused_before_they_are_decoded(kind, monkeypatch):
    for name in ('imdecode', 'imdecodemulti'):
        monkeypatch.setattr(cv2, name, lambda *_: pytest.fail('decoded'))
    monkeypatch.setattr(image_io, '_open_pillow', lambda *_: pytest.fail('decoded'))
    monkeypatch.setattr('tifffile.TiffPage.asarray', lambda *_, **__: pytest.fail('decoded'))
    text = 'holds a JPEG of 65000 x 65000' if kind == 'JPEG in a TIFF' else 'the limit is 400 million'
    with pytest.raises(DataError, match=rf'a\.img: the image .*{text}'):
        decode_image(BOMBS[kind], 'a.img')


EPS = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) show\n'


@pytest.mark.parametrize('data', [EPS, b'\xc5\xd0\xd3\xc6' + struct.pack('<7I', 32, len(EPS), 0, 0, 0, 0, 0) + EPS,
                                  b'%PDF-1.4\n', b'\xd7\xcd\xc6\x9a\0\0' + bytes(40),
                                  b'\x01\0\0\0' + bytes(36) + b' EMF' + bytes(80)])
def test_formats_that_run_programs_are_never_asked(data, tmp_path, monkeypatch):
    """EPS reaches Ghostscript through Pillow, whatever the file is called."""
    Image.init()
    for name in set(Image.OPEN) - set(image_io._PILLOW_FORMATS):
        monkeypatch.setitem(Image.OPEN, name, (lambda *_: pytest.fail('asked'), lambda *_: pytest.fail('asked')))
    (tmp_path / 'a.png').write_bytes(data)
    for read in (image_io.read_image, read_image_size):
        with pytest.raises(DataError, match=r'a\.png: not an image in a known format'):
            read(tmp_path / 'a.png')


def test_pillow_is_always_given_its_formats():
    for path in Path(cxrdet.__file__).parent.rglob('*.py'):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if 'Image.open' in text else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ('Image.open', 'PIL.Image.open'):
                assert 'formats' in {keyword.arg for keyword in node.keywords}, f'{path}, line {node.lineno}'


@pytest.mark.parametrize('kind, options', [('GIF', {}), ('WEBP', dict(lossless=True)), ('PNG', {})])
def test_animations(kind, options):
    frames = [Image.fromarray(np.full((20, 34, 3), value, np.uint8)) for value in (40, 120, 200)]
    data = pillow(frames[0], kind, save_all=True, append_images=frames[1:], duration=50, **options)
    assert read_header(data).frames == 3
    with pytest.raises(DataError, match='holds 3 images .*page='):
        decode_image(data, 'a.img')
    for page, value in enumerate((40, 120, 200)):
        np.testing.assert_array_equal(decode_image(data, 'a.img', page=page), np.full((20, 34, 3), value))
    with pytest.raises(DataError, match='no page 3 '):
        decode_image(data, 'a.img', page=3)
    with pytest.raises(DataError, match='no page 1 '):
        decode_image(pillow(frames[0], kind, **options), 'a.img', page=1)


@pytest.mark.parametrize('kind', ['PNG', 'GIF'])
@pytest.mark.parametrize('transparency', [None, 3, 0])
def test_palettes_with_alpha_keep_their_colours(kind, transparency):
    source = Image.fromarray(RGB).quantize(16)
    expected = np.array(source.convert('RGB'))[..., ::-1]
    data = pillow(source, kind, **({} if transparency is None else dict(transparency=transparency)))
    np.testing.assert_array_equal(decode_image(data, 'a.img'), expected)
    if kind == 'PNG':
        data = pillow(source, kind, transparency=bytes(range(0, 160, 10)))
        np.testing.assert_array_equal(decode_image(data, 'a.img'), expected)


def test_alpha_of_a_webp_is_left_out():
    source = Image.fromarray(np.dstack([RGB, RGB[..., 0]]))
    data = pillow(source, 'WEBP', lossless=True, exact=True)
    np.testing.assert_array_equal(decode_image(data, 'a.webp'), RGB[..., ::-1])
    assert image_io.has_extra_channels(data) and not image_io.has_extra_channels(OTHERS['WebP'])


@pytest.mark.parametrize('adobe', [True, False])
def test_inks_of_a_jpeg(adobe):
    """Adobe's marker says that inks are stored as 255 - ink; without it they are as they are."""
    inks = np.zeros((16, 32, 4), np.uint8)
    inks[:] = np.repeat([[250, 10, 60, 30], [20, 200, 10, 120]], 16, axis=0)
    data = pillow(Image.fromarray(inks, 'CMYK'), 'JPEG', quality=100)
    if not adobe:
        place = data.index(b'\xff\xee\x00\x0eAdobe')
        data, inks = data[:place] + data[place + 16:], 255 - inks
    light = 255.0 - inks
    expected = (light[..., :3] * light[..., 3:] / 255)[..., ::-1]
    assert np.abs(decode_image(data, 'a.jpg') - expected).max() <= 3


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
def test_orientations(kind, tmp_path):
    exif = Image.Exif()
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        (tmp_path / 'a.img').write_bytes(pillow(RGB, kind, exif=exif))
        expected = np.array(ImageOps.exif_transpose(Image.open(tmp_path / 'a.img')).convert('RGB'))[..., ::-1]
        image = image_io.read_image(tmp_path / 'a.img')
        assert image.shape == expected.shape and np.abs(image.astype(int) - expected).max() <= 2 * (kind == 'JPEG')
        assert read_image_size(tmp_path / 'a.img') == image.shape[:2]
        assert image_io.read_image(tmp_path / 'a.img', ignore_orientation=True).shape == RGB.shape


@pytest.mark.parametrize('values', [range(65536), [7], [7, 9], [0, 65535, 65535], [5] * 2000 + [60000]])
def test_percentiles_of_a_histogram_are_those_of_numpy(values):
    values = RNG.choice(np.array(values, np.uint16), 4999)
    counts = np.bincount(values, minlength=2 ** 16)
    percents = (0.05, 50, 99.95)
    np.testing.assert_array_equal(image_io._percentiles(counts, percents), np.percentile(values, percents))


@pytest.mark.parametrize('kind', [*EXACT, *OTHERS])
def test_headers_cut_off_anywhere(kind):
    """Nothing but a DataError, or, of a header that is whole, its size."""
    data = (EXACT | OTHERS)[kind]
    for length in [*range(1, 64), *range(64, min(len(data), 700), 25)]:
        if not kind.endswith('TIFF'):
            assert read_header(data[:length]) in (None, read_header(data)) or kind in ('GIF', 'WebP with alpha')
        with pytest.raises(DataError):
            decode_image(data[:length], 'a.img')


@pytest.mark.parametrize('filler', [0, 1000, 61_000, 65_400, 65_500, 65_530, 140_000])
@pytest.mark.parametrize('orientation', [1, 6])
def test_sizes_of_large_photographs_wherever_their_header_ends(tmp_path, filler, orientation):
    """Segments of other programs before the size and the orientation, and more pixels than are read at first."""
    pixels = np.random.default_rng(0).integers(0, 256, (150, 410, 3), dtype=np.uint8)
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(stream, 'JPEG', quality=100, exif=exif)
    data, segments = stream.getvalue(), b''
    for start in range(0, filler, 60_000):
        part = bytes(min(60_000, filler - start))
        segments += b'\xff\xe2' + struct.pack('>H', len(part) + 2) + part
    path = tmp_path / 'a.jpg'
    path.write_bytes(data[:2] + segments + data[2:])
    assert path.stat().st_size > 2 ** 16
    assert read_image_size(path) == image_io.read_image(path).shape[:2] == (
        (410, 150) if orientation == 6 else (150, 410))
    assert read_image_size(path, ignore_orientation=True) == (150, 410)


def test_the_header_of_a_photograph_is_all_that_is_read(tmp_path, monkeypatch):
    path = tmp_path / 'a.jpg'
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes() + bytes(2 ** 17))
    sizes, read = [], image_io._read_bytes
    monkeypatch.setattr(image_io, '_read_bytes', lambda *args: sizes.append(len(read(*args))) or read(*args))
    assert read_image_size(path) == (30, 40) and sizes == [2 ** 16]
