"""Reading image files: every kind arrives as three channels of 8 bits, and nothing broken gets through."""
import io
import pickle
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmengine.dataset import Compose
from PIL import Image

from cxrdet.core.errors import ConfigError, DataError, error_text
from cxrdet.datasets.formats.images import read_image, read_image_size
from cxrdet.datasets.transforms.loading import LoadImage, image_reader
from cxrdet.registry import TRANSFORMS

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
GREY = RGB[:, :, 0]


def encode(image, kind, **options):
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def written(tmp_path):
    def write(data, name='a.img'):
        path = tmp_path / name
        path.write_bytes(data)
        return path
    return write


@pytest.mark.parametrize('kind', ['PNG', 'BMP', 'TIFF'])
def test_colour_is_exact_and_bgr(written, kind):
    image = read_image(written(encode(RGB, kind)))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, RGB[:, :, ::-1])


def test_jpeg_as_the_host_reads_it(written):
    import mmcv
    path = written(encode(RGB, 'JPEG', quality=90))
    np.testing.assert_array_equal(read_image(path), mmcv.imread(str(path)))


def test_orientation_of_a_tiff(written):
    path = written(encode(RGB, 'TIFF', tiffinfo={0x0112: 6}))
    np.testing.assert_array_equal(read_image(path), np.rot90(RGB, 3)[:, :, ::-1])
    assert read_image_size(path) == (32, 24)


def test_size_of_what_pillow_cannot_read(written):
    path = written(cv2.imencode('.tiff', np.eye(5, 7))[1].tobytes())  # float64
    assert read_image_size(path) == read_image(path).shape[:2] == (5, 7)


@pytest.mark.parametrize('mode', ['L', 'LA', '1', 'P', 'RGBA'])
@pytest.mark.parametrize('kind', ['PNG', 'TIFF'])
def test_other_modes_become_three_channels(written, mode, kind):
    source = Image.fromarray(RGB if mode in ('P', 'RGBA') else GREY).convert(mode)
    expected = np.array(source.convert('RGB'))[:, :, ::-1]
    np.testing.assert_array_equal(read_image(written(encode(source, kind))), expected)


@pytest.mark.parametrize('mode', ['LA', 'RGBA'])
def test_alpha_is_left_out_and_not_blended(written, mode):
    source = Image.fromarray(RGB).convert(mode)
    source.putalpha(Image.fromarray(RNG.integers(0, 256, GREY.shape, dtype=np.uint8)))
    colour = np.array(source)[:, :, :-1] * np.ones(3, np.uint8)
    np.testing.assert_array_equal(read_image(written(encode(source, 'PNG'))), colour[:, :, ::-1])


@pytest.mark.parametrize(('encoding', 'dtype'), [('.png', 'uint16'), ('.tiff', 'uint16'), ('.tiff', 'float32'),
                                                 ('.tiff', 'float64'), ('.tiff', 'int32')])
@pytest.mark.parametrize('channels', [1, 3])
def test_deep_images_keep_their_contrast(written, encoding, dtype, channels):
    shape = (9, 11, 3) if channels == 3 else (9, 11)
    deep = RNG.integers(0, 4096, shape).astype(dtype)  # 12 bits
    deep.flat[:2] = 100, 4095
    deep = np.maximum(deep, 100)
    image = read_image(written(cv2.imencode(encoding, deep)[1].tobytes()))
    assert image.shape == (9, 11, 3)
    assert image.dtype == np.uint8
    expected = np.rint((deep.astype(float) - 100) * 255 / 3995)
    np.testing.assert_array_equal(image, expected if channels == 3 else np.stack([expected] * 3, -1))


@pytest.mark.parametrize('encoding', ['.png', '.tiff'])
@pytest.mark.parametrize('narrow', [GREY, GREY // 4 + 60, RGB, np.full((4, 5), 77, np.uint8)])
def test_a_widened_image_of_8_bits_comes_back(written, narrow, encoding):
    wide = written(cv2.imencode(encoding, narrow.astype(np.uint16) * 257)[1].tobytes(), 'wide.img')
    plain = written(cv2.imencode(encoding, narrow)[1].tobytes())
    np.testing.assert_array_equal(read_image(wide), read_image(plain))


@pytest.mark.parametrize(('encoding', 'dtype'), [('.png', 'uint16'), ('.tiff', 'float32')])
@pytest.mark.parametrize('outliers', [{65535: 4}, {65535: 2, 60000: 2}])
def test_a_few_bright_pixels_do_not_cost_the_contrast(written, encoding, dtype, outliers):
    """4 of 16,384 pixels are 0.024 %, within the 0.05 % at either end."""
    film = (np.arange(128 * 128) * 4096 // 128 ** 2).reshape(128, 128).astype(dtype)
    clean = read_image(written(cv2.imencode(encoding, film)[1].tobytes()))
    np.testing.assert_array_equal(clean[..., 0], np.rint(film.astype(float) * 255 / 4095))
    film.flat[8000:8000 + sum(outliers.values())] = np.repeat(list(outliers), list(outliers.values()))
    image = read_image(written(cv2.imencode(encoding, film)[1].tobytes()))
    assert (image.reshape(-1, 3)[8000:8004] == 255).all()
    rest = np.delete(np.arange(128 ** 2), range(8000, 8004))
    assert np.abs(image.reshape(-1, 3)[rest].astype(int) - clean.reshape(-1, 3)[rest]).max() <= 1


def test_many_bright_pixels_are_content(written):
    """0.5 % of the pixels are no defect; and an image of two values keeps both, however rare one of them is."""
    film = (np.arange(128 * 128) % 4096).reshape(128, 128).astype(np.uint16)
    film.flat[:82] = 65534
    image = read_image(written(cv2.imencode('.png', film)[1].tobytes()))
    np.testing.assert_array_equal(image[..., 0], np.rint(film * (255 / 65534)))
    film[:], film[0, 0] = 300, 40000
    image = read_image(written(cv2.imencode('.png', film)[1].tobytes()))
    assert image[0, 0, 0] == 255 and image.sum() == 3 * 255


def test_constant_deep_image_is_black(written):
    flat = np.full((5, 6), 3000, np.uint16)
    assert read_image(written(cv2.imencode('.png', flat)[1].tobytes())).max() == 0


def test_deep_image_with_values_that_are_not_finite(written):
    deep = np.ones((5, 6), np.float32)
    deep[2, 2] = np.nan
    with pytest.raises(DataError, match=r'a\.img: the image holds values that are not finite'):
        read_image(written(cv2.imencode('.tiff', deep)[1].tobytes()))


@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
@pytest.mark.parametrize(('orientation', 'turned'), [(1, False), (3, False), (6, True), (8, True)])
def test_exif_orientation(written, kind, orientation, turned):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = written(encode(np.repeat(np.repeat(RGB[:3, :4], 8, 0), 8, 1), kind, exif=exif))
    stored, upright = read_image(path, ignore_orientation=True), read_image(path)
    assert stored.shape == (24, 32, 3)
    np.testing.assert_array_equal(upright, np.rot90(stored, {1: 0, 3: 2, 6: 3, 8: 1}[orientation]))
    assert read_image_size(path) == ((32, 24) if turned else (24, 32)) == upright.shape[:2]
    assert read_image_size(path, ignore_orientation=True) == (24, 32)


ENCODED = {'JPEG': encode(RGB, 'JPEG'), 'progressive JPEG': encode(RGB, 'JPEG', progressive=True),
           'PNG': encode(RGB, 'PNG'), 'grey PNG': encode(GREY, 'PNG'), 'BMP': encode(RGB, 'BMP'),
           'WEBP': encode(RGB, 'WEBP', lossless=True), 'TIFF': encode(RGB, 'TIFF', compression='tiff_deflate')}


@pytest.mark.parametrize('share', [0.3, 0.6, 0.95, 0.999])
@pytest.mark.parametrize('kind', list(ENCODED))
def test_truncated_at_any_point(written, kind, share):
    data = ENCODED[kind]
    path = written(data[:min(int(len(data) * share), len(data) - 2)])
    with pytest.raises(DataError, match=r'a\.img: (the image is (truncated|damaged)|a \w+ image that|not an image)'):
        read_image(path)


def test_words_for_a_truncated_jpeg_and_png(written):
    for data in (ENCODED['JPEG'], ENCODED['PNG']):
        with pytest.raises(DataError, match=r'a\.img: the image is truncated \(\d+ bytes; .*\)\. Replace the file'):
            read_image(written(data[:-100]))


def test_bytes_after_the_end_do_no_harm(written):
    np.testing.assert_array_equal(read_image(written(ENCODED['JPEG'] + bytes(64))),
                                  read_image(written(ENCODED['JPEG'], 'b.img')))


@pytest.mark.parametrize('read', [read_image, read_image_size])
@pytest.mark.parametrize(('data', 'text'), [
    (b'', r'the image file is empty \(0 bytes\)'),
    (b'<html>not found</html>', r'not an image in a known format \(22 bytes, beginning with b\'<html>no\'\)'),
    (bytes(5000), 'not an image in a known format')])
def test_files_that_are_no_images(written, read, data, text):
    with pytest.raises(DataError, match=rf'a\.img: {text}'):
        read(written(data))


def test_missing_file_and_folder(tmp_path):
    for read in (read_image, read_image_size):
        with pytest.raises(DataError, match=r'none\.png: cannot read the image file: No such file or directory'):
            read(tmp_path / 'none.png')
        with pytest.raises(DataError, match='cannot read the image file: Is a directory'):
            read(tmp_path)


def test_transform_adds_what_the_pipelines_of_the_host_expect(written):
    transform = TRANSFORMS.build({'type': 'cxrdet.LoadImage'})
    results = transform({'img_path': str(written(ENCODED['PNG'])), 'height': 24, 'width': 32, 'instances': []})
    np.testing.assert_array_equal(results['img'], RGB[:, :, ::-1])
    assert results['img_shape'] == results['ori_shape'] == (24, 32)
    assert results['img'].flags['C_CONTIGUOUS']
    assert results['img'].flags['WRITEABLE']
    assert results['instances'] == []
    assert 'cache=False' in repr(transform)


def test_image_of_another_size_than_its_annotations(written):
    results = {'img_path': written(ENCODED['PNG']), 'height': 48, 'width': 64}
    with pytest.raises(DataError, match=r'32 x 24 .* 64 x 48(?!.*EXIF)'):
        LoadImage()(dict(results))
    assert LoadImage(check_size=False)(dict(results))['img_shape'] == (24, 32)
    assert LoadImage()({'img_path': results['img_path']})['img_shape'] == (24, 32)


def test_boxes_drawn_on_the_image_as_stored(written):
    exif = Image.Exif()
    exif[0x0112] = 6
    results = {'img_path': written(encode(RGB, 'JPEG', exif=exif)), 'height': 24, 'width': 32}
    with pytest.raises(DataError, match='carries an EXIF orientation: .* set ignore_orientation=True'):
        LoadImage()(dict(results))
    assert LoadImage(ignore_orientation=True)(dict(results))['img_shape'] == (24, 32)


def test_cache_reads_once_and_gives_copies(written):
    path = written(ENCODED['PNG'])
    transform = LoadImage(cache=True)
    first = transform({'img_path': path})['img']
    first[:] = 0  # a transform behind it writes into the image
    path.unlink()
    second = transform({'img_path': path})['img']
    np.testing.assert_array_equal(second, RGB[:, :, ::-1])
    second[:] = 0
    np.testing.assert_array_equal(transform({'img_path': path})['img'], RGB[:, :, ::-1])


def test_cache_ends_at_its_size(written):
    transform = LoadImage(cache=True, cache_mb=1.5 * RGB.nbytes / 2 ** 20)
    paths = [written(ENCODED['PNG'], name) for name in ('a', 'b')]
    for path in paths:
        transform({'img_path': path})
        path.unlink()
    assert transform({'img_path': paths[0]})['img_shape'] == (24, 32)
    with pytest.raises(DataError, match='No such file'):
        transform({'img_path': paths[1]})


def test_cache_stays_in_its_process(written):
    path = written(ENCODED['PNG'])
    transform = LoadImage(cache=True)
    before = len(pickle.dumps(transform))
    transform({'img_path': path})
    assert len(pickle.dumps(transform)) == before
    path.unlink()
    with pytest.raises(DataError, match='No such file'):
        pickle.loads(pickle.dumps(transform))({'img_path': path})


def test_page_of_files_with_several_images(written):
    path = written(encode(Image.fromarray(RGB), 'TIFF', save_all=True, append_images=[Image.fromarray(255 - RGB)]))
    np.testing.assert_array_equal(LoadImage(page=1)({'img_path': path})['img'], 255 - RGB[:, :, ::-1])
    assert 'page=1' in repr(LoadImage(page=1))
    with pytest.raises(DataError, match=r'a\.img: .* holds 2 images'):
        LoadImage()({'img_path': path})
    with pytest.raises(ConfigError, match='page is the number'):
        LoadImage(page=-1)
    seen = image_reader(SimpleNamespace(pipeline=Compose([LoadImage(page=1, transforms=[dict(type='cxrdet.ZScore')])])))
    np.testing.assert_array_equal(seen(path), 255 - RGB[:, :, ::-1])
    assert image_reader(SimpleNamespace(pipeline=Compose([]))) is read_image


@pytest.mark.parametrize('name', ['CellDataset', 'CellVOCDataset', 'NIHChestXray14', 'CSVImageDataset'])
def test_a_thin_image_that_a_step_refuses_is_named(written, name):
    """A training or test ends on it, and says on which one; Resize makes 0 of its short side."""
    from cxrdet.registry import DATASETS
    path = written(encode(np.zeros((1, 3000, 3), np.uint8), 'PNG'), 'thin.png')

    class Films(DATASETS.get(name)):
        def __init__(self):
            steps = [dict(type='cxrdet.LoadImage'), dict(type='mmcv.Resize', scale=(320, 320), keep_ratio=True)]
            self.pipeline = Compose([TRANSFORMS.build(step) for step in steps])

        def get_data_info(self, idx):
            return {'img_path': str(path)}

    with pytest.raises(DataError, match=r'thin\.png: the image of 3000 x 1 px .* resize .*thin'):
        Films().prepare_data(0)


class CountedInversion:
    """255 - image, and how often."""
    calls = 0

    def __call__(self, results):
        type(self).calls += 1
        return {'img': 255 - results['img']}


@pytest.mark.parametrize('cache', [True, False])
def test_steps_of_which_the_cache_keeps_the_result(written, monkeypatch, cache):
    monkeypatch.setattr(CountedInversion, 'calls', 0)
    path = written(ENCODED['PNG'])
    transform = LoadImage(cache=cache, transforms=[dict(type=CountedInversion)] * 3)
    for _ in range(4):
        results = transform({'img_path': path, 'gt': 1})
        np.testing.assert_array_equal(results['img'], 255 - RGB[:, :, ::-1])
        assert results['gt'] == 1 and results['ori_shape'] == results['img_shape'] == (24, 32)
        results['img'][:] = 0
    assert CountedInversion.calls == (3 if cache else 12)
    assert 'CountedInversion' in repr(transform)


def test_steps_behave_as_behind_the_loading(written):
    path = written(ENCODED['PNG'])
    steps = [dict(type='cxrdet.CLAHE'), dict(type='cxrdet.Denoise'), dict(type='cxrdet.ZScore')]
    results = LoadImage()({'img_path': path})
    for step in steps:
        results = TRANSFORMS.build(step)(results)
    np.testing.assert_array_equal(LoadImage(cache=True, transforms=steps)({'img_path': path})['img'], results['img'])


@pytest.mark.parametrize('step', [dict(type='Resize', scale=(8, 8)), dict(type='RandomFlip', prob=1.0)])
def test_steps_that_move_the_image_are_refused(written, step):
    with pytest.raises(ConfigError, match=f'LoadImage: {step["type"]} changes more than the values of the image'):
        LoadImage(transforms=[step])({'img_path': written(ENCODED['PNG'])})


def test_cache_without_room():
    with pytest.raises(ConfigError, match=r'cache_mb must lie in \(0, .* got 0'):
        LoadImage(cache=True, cache_mb=0)


def test_error_arrives_from_a_worker_with_its_text(written):
    from mmengine.dataset import BaseDataset
    from torch.utils.data import DataLoader

    class Files(BaseDataset):
        def load_data_list(self):
            return [{'img_path': str(written(ENCODED['JPEG'][:-100]))}]

    files = Files(pipeline=[LoadImage()])  # a training set: MMEngine could replace the sample, and does not
    with pytest.raises(DataError, match=r'a\.img: the image is truncated') as caught:
        next(iter(DataLoader(files, num_workers=1)))
    assert error_text(caught.value).startswith(str(files.get_data_info(0)['img_path']))


@pytest.mark.long
def test_real_images_as_the_host_reads_them(real_data):
    import mmcv
    paths = sorted((real_data / 'bccd' / 'JPEGImages').glob('*.jpg'))[:3]
    paths += sorted((real_data / 'cxr_lungs' / 'images').glob('*.png'))[:3]
    for path in paths:
        image = read_image(path)
        np.testing.assert_array_equal(image, mmcv.imread(str(path)))
        assert read_image_size(path) == image.shape[:2]
