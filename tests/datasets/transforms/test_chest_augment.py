"""ChestAugment: what it may do to a film and what not, measured on points of light."""
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from scipy import ndimage

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


def keras(image, theta, shift, shear, zoom):
    """``apply_affine_transform`` of keras_preprocessing 1.1 with fill_mode 'reflect' and order 1, in its own words:
    matrices for (row, column), scipy's affine_transform on each channel."""
    theta, shear = np.deg2rad(theta), np.deg2rad(shear)
    matrix = np.array([[np.cos(theta), -np.sin(theta), 0], [np.sin(theta), np.cos(theta), 0], [0, 0, 1]])
    for other in ([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]],
                  [[1, -np.sin(shear), 0], [0, np.cos(shear), 0], [0, 0, 1]],
                  [[zoom[0], 0, 0], [0, zoom[1], 0], [0, 0, 1]]):
        matrix = matrix @ np.array(other)
    row, column = image.shape[0] / 2 - 0.5, image.shape[1] / 2 - 0.5
    matrix = np.array([[1, 0, row], [0, 1, column], [0, 0, 1]]) @ matrix @ np.array(
        [[1, 0, -row], [0, 1, -column], [0, 0, 1]])
    channels = [ndimage.affine_transform(image[:, :, i].astype(float), matrix[:2, :2], matrix[:2, 2], order=1,
                                         mode='reflect') for i in range(image.shape[2])]
    return np.stack(channels, axis=2)


@pytest.mark.parametrize('limits', [dict(rotation=20), dict(shift=(0.1, 0.05)), dict(shear=15), dict(zoom=0.15),
                                    dict(shift=(0.1, 0.05), rotation=20, shear=10, zoom=0.15)],
                         ids=lambda limits: ' '.join(limits))
def test_pixels_are_those_of_keras(limits):
    """On a smooth film that is no square, with the numbers that are drawn: step for step as the seed tells."""
    film = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (60, 90, 3)).astype(np.uint8), (0, 0), 3)
    transform = ChestAugment(False, **STILL | limits)
    for seed in range(4):
        transform._rng = np.random.default_rng(seed)
        found = transform(dict(img=film))['img']
        rng = np.random.default_rng(seed)
        rng.random()
        drawn = {name: rng.uniform(-limit, limit) for name, limit in (
            ('theta', transform.rotation), ('x', 90 * transform.shift[0]), ('y', 60 * transform.shift[1]),
            ('shear', transform.shear), ('zoom x', transform.zoom), ('zoom y', transform.zoom))}
        expected = keras(film, drawn['theta'], (drawn['y'], drawn['x']), drawn['shear'],
                         (1 + drawn['zoom y'], 1 + drawn['zoom x']))
        assert np.abs(found - expected).max() < 1.5  # OpenCV takes places in 32nds of a pixel, and rounds


def test_shear_is_in_degrees():
    """A point 60 px right of the middle moves by 60 tan(10 degrees) at most, up or down; by default next to nothing."""
    def largest(**limits):
        away = np.array([spot(image) for image in moved(ChestAugment(False, **STILL | limits), marked(160, 100))])
        return np.abs(away - [160, 100]).max(axis=0)
    assert largest(shear=10)[1] == pytest.approx(60 * np.tan(np.radians(10)), abs=0.7)
    assert (largest(shear=0.1) < 0.15).all()


def test_zoom_is_drawn_for_x_and_y_on_their_own():
    away = np.array([spot(image) for image in moved(ChestAugment(False, **STILL | dict(zoom=0.15)),
                                                    marked(150, 150), 400)]) - 99.5
    steps = 50.5 / away
    assert steps.min(axis=0) == pytest.approx([0.85] * 2, abs=0.02)
    assert steps.max(axis=0) == pytest.approx([1.15] * 2, abs=0.02)
    assert abs(np.corrcoef(steps.T)[0, 1]) < 0.2  # four standard errors


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
    (dict(shear=50), 'shear must lie within 0 and 45'),
    (dict(zoom=1), 'zoom must lie within 0 and 0.9'),
    (dict(prob=1.5), 'prob must lie within 0 and 1'),
])
def test_errors(arguments, message):
    with pytest.raises(ConfigError, match=f'ChestAugment: {message}'):
        ChestAugment(**arguments)
