"""ChestAugment: what it may do to a film and what not, measured on points of light."""
from types import SimpleNamespace

import numpy as np
import pytest

from cxrdet.core.errors import ConfigError
from cxrdet.datasets.transforms.chest_augment import ChestAugment
from cxrdet.engine.seeding import seed_dataset

SIDE = 200
STILL = dict(shift=(0, 0), rotation=0, shear=0, zoom=0)


def marked(x, y, side=SIDE):
    """A black image with a bright spot of 5x5 pixels about (x, y)."""
    image = np.zeros((side, side, 3), np.uint8)
    image[y - 2:y + 3, x - 2:x + 3] = 255
    return image


def spot(image):
    """Centre of light (x, y)."""
    light = image[:, :, 0].astype(float)
    return np.array([(light.sum(axis=axis) * np.arange(SIDE)).sum() / light.sum() for axis in (0, 1)])


def seeded(transform, seed):
    assert seed_dataset(SimpleNamespace(pipeline=[transform]), seed) >= 1
    return transform


def moved(transform, image, times=200):
    seeded(transform, 0)
    return [transform(dict(img=image.copy()))['img'] for _ in range(times)]


def test_hflip_is_a_switch():
    film = marked(30, 60)
    mirrored = [(image == film[:, ::-1]).all() for image in moved(ChestAugment(hflip=True, **STILL), film)]
    assert 70 < sum(mirrored) < 130
    for image, is_mirrored in zip(moved(ChestAugment(hflip=True, **STILL), film), mirrored):
        np.testing.assert_array_equal(image, film[:, ::-1] if is_mirrored else film)
    for image in moved(ChestAugment(hflip=False, **STILL), film, 50):
        np.testing.assert_array_equal(image, film)
    assert 'dextrocardia' in ChestAugment.__doc__ and 'marker' in ChestAugment.__doc__


def test_never_upside_down():
    """A spot in the upper quarter stays in the upper half, whatever is drawn."""
    for image in moved(ChestAugment(), marked(100, 45)):
        assert spot(image)[1] < SIDE / 2


def test_shift():
    """10 % of the width and 5 % of the height, both used to the full and not exceeded."""
    offsets = np.array([spot(image) for image in moved(ChestAugment(False, **STILL | dict(shift=(0.1, 0.05))),
                                                       marked(100, 100))]) - 100
    assert np.abs(offsets).max(axis=0) == pytest.approx([20, 10], abs=1.0)
    assert (offsets.min(axis=0) < [-17, -8]).all() and (offsets.max(axis=0) > [17, 8]).all()


@pytest.mark.parametrize('degrees', [5, 20])
def test_rotation(degrees):
    away = np.array([spot(image) for image in moved(ChestAugment(False, **STILL | dict(rotation=degrees)),
                                                    marked(160, 100))]) - 99.5
    angles = np.degrees(np.arctan2(away[:, 1], away[:, 0]))
    assert np.abs(angles).max() == pytest.approx(degrees, rel=0.1)
    assert np.hypot(*away.T) == pytest.approx(np.full(200, 60.5), abs=1.0)


def test_shear_moves_along_x_only():
    away = np.array([spot(image) for image in moved(ChestAugment(False, **STILL | dict(shear=0.1)),
                                                    marked(100, 160))]) - [100, 160]
    assert np.abs(away[:, 0]).max() == pytest.approx(6, abs=0.7)  # 0.1 of 60 pixels from the middle
    assert np.abs(away[:, 1]).max() < 0.3


def test_zoom_is_equal_in_x_and_y():
    away = np.array([spot(image) for image in moved(ChestAugment(False, **STILL | dict(zoom=0.15)),
                                                    marked(150, 150))]) - 99.5
    factors = away / 50.5
    assert factors.min() == pytest.approx(0.85, abs=0.02) and factors.max() == pytest.approx(1.15, abs=0.02)
    assert np.abs(factors[:, 0] - factors[:, 1]).max() < 0.02


def test_borders_are_reflected_not_black():
    for image in moved(ChestAugment(), np.full((SIDE, SIDE, 3), 90, np.uint8), 30):
        assert (image == 90).all()


def test_off():
    film = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    for image in moved(ChestAugment(False, prob=0), film, 20):
        np.testing.assert_array_equal(image, film)


def test_grey_stays_grey_and_keeps_its_shape():
    film = np.repeat(np.random.default_rng(0).integers(0, 256, (90, 70, 1)).astype(np.uint8), 3, axis=2)
    for image in moved(ChestAugment(), film, 20):
        assert image.shape == film.shape and image.dtype == np.uint8
        assert (image[:, :, 0] == image[:, :, 2]).all()


def test_numbers_follow_from_the_seed():
    film = marked(60, 80)
    one, two = ChestAugment(), ChestAugment()
    first = [image.tobytes() for image in moved(one, film, 10)]
    assert first == [image.tobytes() for image in moved(two, film, 10)]
    assert len(set(first)) == 10
    assert seeded(two, 1)(dict(img=film.copy()))['img'].tobytes() != first[0]


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(shift=(0.6, 0)), r'shift must lie within 0 and 0.5, got \[0.6, 0\]'),
    (dict(shift=(0.1, )), 'shift must be two shares'),
    (dict(rotation=-5), r'rotation must lie within 0 and 180, got \[-5\]'),
    (dict(shear=2), 'shear must lie within 0 and 1'),
    (dict(zoom=1), 'zoom must lie within 0 and 0.9'),
    (dict(prob=1.5), 'prob must lie within 0 and 1'),
])
def test_errors(arguments, message):
    with pytest.raises(ConfigError, match=f'ChestAugment: {message}'):
        ChestAugment(**arguments)
