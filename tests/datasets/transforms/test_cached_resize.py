"""CachedResize against LoadImage and Resize, and what its folder holds."""
import os
import pickle
from multiprocessing import get_context

import cv2
import numpy as np
import pytest
from mmengine.registry import DefaultScope

from cxrdet.core.errors import ConfigError, DataError
from cxrdet.datasets.transforms.cached_resize import CachedResize
from cxrdet.registry import TRANSFORMS

RESIZE = {'type': 'mmdet.Resize', 'scale': (24, 20), 'keep_ratio': True}


@pytest.fixture
def image(tmp_path):
    path = tmp_path / 'images' / 'a.png'
    path.parent.mkdir()
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (50, 41, 3), dtype=np.uint8))
    return path


@pytest.fixture
def step(tmp_path):
    return lambda **options: CachedResize(str(tmp_path / 'cache'), **{'resize': RESIZE, **options})


@pytest.fixture
def decoded(monkeypatch):
    """Paths of the images that were decoded."""
    from cxrdet.datasets.transforms import loading
    paths, read = [], loading.read_image
    monkeypatch.setattr(loading, 'read_image', lambda path, **options: paths.append(path) or read(path, **options))
    return paths


def sample(path, boxes=((1, 2, 30, 40),), **more):
    from mmdet.structures.bbox import HorizontalBoxes
    return {'img_path': str(path), 'gt_bboxes': HorizontalBoxes(np.array(boxes, np.float32)), **more}


def equal(one, other):
    assert one.keys() == other.keys()
    for key, value in other.items():
        if key == 'gt_bboxes':
            np.testing.assert_array_equal(one[key].tensor, value.tensor)
        else:
            np.testing.assert_array_equal(one[key], value)
            assert type(one[key]) is type(value), key


def entries(tmp_path):
    return [file for file in (tmp_path / 'cache').rglob('*') if file.is_file()]


@pytest.mark.parametrize('resize', [RESIZE, {**RESIZE, 'keep_ratio': False},
                                    {'type': 'mmpretrain.Resize', 'scale': 17, 'interpolation': 'area'}])
@pytest.mark.parametrize('load', [{}, {'transforms': [{'type': 'cxrdet.CLAHE'}]}])
def test_the_same_as_both_steps(image, tmp_path, step, decoded, resize, load):
    given = {'img_path': str(image)} if 'mmpretrain' in resize['type'] else sample(image)
    plain = TRANSFORMS.build({'type': 'cxrdet.LoadImage', **load})(dict(given))
    plain = TRANSFORMS.build(dict(resize))(plain)
    for _ in range(2):  # by two runs
        cached = step(resize=resize, load=load)
        equal(cached(dict(given)), plain)
        equal(pickle.loads(pickle.dumps(cached))(dict(given)), plain)
    assert len(decoded) == 2 and len(entries(tmp_path)) == 1


def test_the_scope_of_the_config_names_the_step(image, step):
    with DefaultScope.overwrite_default_scope('mmdet'):
        assert step(resize={**RESIZE, 'type': 'Resize'})(sample(image))['img'].shape == (24, 20, 3)


def test_what_an_image_is_read_from_and_how_make_another_entry(image, tmp_path, step, decoded):
    step()(sample(image))
    for options in ({'resize': {**RESIZE, 'scale': (10, 10)}}, {'load': {'ignore_orientation': True}}):
        step(**options)(sample(image))
    os.utime(image, (1, 1))
    step()(sample(image))
    assert len(entries(tmp_path)) == len(decoded) == 4


@pytest.mark.parametrize('damage', [lambda data: b'', lambda data: data[:-9], lambda data: data[:60] + b'!' + data[61:],
                                    lambda data: b'\xff' * len(data)])
def test_a_damaged_entry_is_written_anew(image, tmp_path, step, decoded, damage):
    first = step()(sample(image))
    file, = entries(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    equal(step()(sample(image)), first)
    assert file.read_bytes() == whole and len(decoded) == 2


def test_later_steps_may_write_into_the_image(image, step):
    cached = step()
    first = cached(sample(image))['img'].copy()
    for _ in range(2):
        img = cached(sample(image))['img']
        np.testing.assert_array_equal(img, first)
        img[:] = 0


def test_a_full_folder_takes_no_more(image, tmp_path, step, decoded):
    other = image.with_name('b.png')
    other.write_bytes(image.read_bytes())
    cached = step(max_gb=2000 / 2 ** 30)  # an entry has 1,440 bytes of pixels
    for path in (image, other, image, other):
        cached(sample(path))
    assert len(entries(tmp_path)) == 1 and decoded == [str(image), str(other), str(other)]


def test_a_folder_that_cannot_be(image, tmp_path, step):
    (tmp_path / 'cache').write_text('a file')
    assert step()(sample(image))['img'].shape == (24, 20, 3)


def test_errors_of_the_reader(image, step):
    step()(sample(image))
    with pytest.raises(DataError, match='41 x 50'):
        step()(sample(image, height=9, width=9))
    with pytest.raises(DataError, match=r'none\.png'):
        step()(sample(image.with_name('none.png')))


@pytest.mark.parametrize('options', [
    {'resize': {'type': 'mmdet.RandomFlip', 'prob': 0.5}}, {'max_gb': 0},
    {'resize': {'type': 'mmdet.Resize', 'scale_factor': 2.}}, {'load': {'cache': True}}])
def test_arguments_that_cannot_be_meant(step, options):
    with pytest.raises(ConfigError):
        step(**options)


def _fill(step, paths):
    for path in paths:
        step(sample(path))


def test_several_processes_write_at_once(image, tmp_path, step):
    paths = [image.with_name(f'{number}.png') for number in range(12)]
    for path in paths:
        path.write_bytes(image.read_bytes())
    workers = [get_context('fork').Process(target=_fill, args=(step(), paths)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(entries(tmp_path)) == 12 and {file.suffix for file in entries(tmp_path)} == {'.img'}
