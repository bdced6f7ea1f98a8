"""The frame that tells the size of a crop."""
from types import SimpleNamespace

import numpy as np
import pytest

from cxrdet.core.errors import ConfigError
from cxrdet.datasets.transforms.size_frame import SizeFrame


def framed(shape, side=32, **kwargs):
    image = np.full((side, side, 3), 77, np.uint8)
    result = SizeFrame(**kwargs)({'img': image, 'ori_shape': shape})['img']
    assert (image == 77).all()  # what a cache keeps is not painted
    return result


@pytest.mark.parametrize(('shape', 'grey'), [
    ((16, 16), 0), ((1024, 1024), 255), ((8, 8), 0), ((4000, 3000), 255),
    ((128, 128), 128),  # three of six octaves: 127.5
    ((32, 128), 85),    # sqrt(32 * 128) = 64: two of six
])
def test_grey_value_is_the_log_of_the_size(shape, grey):
    image = framed(shape)
    assert (image[[0, 1, 30, 31]] == grey).all()
    assert (image[:, [0, 1, 30, 31]] == grey).all()
    assert (image[2:30, 2:30] == 77).all()


def test_turning_and_mirroring_leave_the_frame():
    image = framed((100, 60))
    assert (np.rot90(image) == image).all()
    assert (image[:, ::-1] == image).all()


def test_jitter_moves_the_size_by_octaves():
    transform = SizeFrame(jitter=0.5)
    image = np.zeros((8, 8, 3), np.uint8)
    greys = np.array([int(transform({'img': image, 'ori_shape': (128, 128)})['img'][0, 0, 0]) for _ in range(400)])
    assert greys.mean() == pytest.approx(127.5, abs=4)
    assert greys.std() == pytest.approx(0.5 * 255 / 6, rel=0.2)


def test_jitter_follows_the_seed():
    from cxrdet.engine.seeding import seed_dataset
    image, found = np.zeros((8, 8, 3), np.uint8), []
    for seed in (0, 0, 1):
        transform = SizeFrame(jitter=0.5)
        assert seed_dataset(SimpleNamespace(pipeline=[transform]), seed) == 1
        found.append([int(transform({'img': image, 'ori_shape': (128, 128)})['img'][0, 0, 0]) for _ in range(9)])
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize('kwargs', [dict(low=0), dict(low=20, high=10), dict(width=0.5), dict(jitter=-1)])
def test_values_out_of_range(kwargs):
    with pytest.raises(ConfigError, match='expected 0 < low < high, 0 < width < 0.5 and jitter >= 0, got low='):
        SizeFrame(**kwargs)
