"""CLAHE, Denoise, Sharpen, ZScore against OpenCV called by hand and sums in float64."""
import cv2
import numpy as np
import pytest

from cxrdet.core.errors import ConfigError
from cxrdet.datasets.transforms.preprocess import CLAHE, Denoise, Sharpen, ZScore
from cxrdet.registry import TRANSFORMS

NAMES = ['CLAHE', 'Denoise', 'Sharpen', 'ZScore']


def colour(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (48, 40, 3)).astype(np.uint8)


def film(seed=0):
    """A grey ramp with noise, (48, 40) uint8."""
    noise = np.random.default_rng(seed).normal(0, 8, (48, 40))
    return np.clip(np.linspace(60, 160, 40) + noise, 0, 255).astype(np.uint8)


def apply(transform, image):
    return transform(dict(img=image.copy()))['img']


def three(plane):
    return np.repeat(plane[:, :, None], 3, axis=2)


@pytest.mark.parametrize(('transform', 'expected'), [
    (CLAHE(), lambda plane: cv2.createCLAHE(2.0, (8, 8)).apply(plane)),
    (CLAHE(4.0, (4, 2)), lambda plane: cv2.createCLAHE(4.0, (4, 2)).apply(plane)),
    (Denoise(), lambda plane: cv2.fastNlMeansDenoising(plane, None, 10, 7, 21)),
    (Denoise(3, 1, patch_size=3, search_size=9), lambda plane: cv2.fastNlMeansDenoising(plane, None, 3, 3, 9)),
])
def test_grey_films_are_worked_on_as_they_are(transform, expected):
    result = apply(transform, three(film()))
    np.testing.assert_array_equal(result, three(expected(film())))
    np.testing.assert_array_equal(apply(transform, film()), result[:, :, 0])
    np.testing.assert_array_equal(apply(transform, film()[:, :, None]), result[:, :, :1])
    assert (result[:, :, 0] != film()).mean() > 0.1


def test_clahe_of_colours_works_on_lightness():
    lab = cv2.cvtColor(colour(), cv2.COLOR_BGR2LAB)
    lab[..., 0] = cv2.createCLAHE(2.0, (8, 8)).apply(lab[..., 0])
    np.testing.assert_array_equal(apply(CLAHE(), colour()), cv2.cvtColor(lab, cv2.COLOR_LAB2BGR))


def test_denoise_of_colours():
    np.testing.assert_array_equal(apply(Denoise(), colour()),
                                  cv2.fastNlMeansDenoisingColored(colour(), None, 10, 10, 7, 21))


def test_denoise_removes_noise():
    clean = np.linspace(60, 160, 40)
    before, after = (np.abs(image.astype(float) - clean).mean() for image in (film(), apply(Denoise(), film())))
    assert after < 0.6 * before


@pytest.mark.parametrize('amount', [1.0, 0.25])
@pytest.mark.parametrize('image', [three(film()), colour()], ids=['grey', 'colour'])
def test_sharpen_is_its_formula(image, amount):
    padded = np.pad(image.astype(np.float64), ((1, 1), (1, 1), (0, 0)), 'reflect')
    around = sum(padded[y:y + 48, x:x + 40] for y in range(3) for x in range(3)) - image
    expected = np.clip(np.rint(image + amount * (8 * image.astype(np.float64) - around)), 0, 255)
    np.testing.assert_array_equal(apply(Sharpen(amount), image), expected)


def test_sharpen_leaves_flat_images():
    assert (apply(Sharpen(), np.full((9, 9, 3), 77, np.uint8)) == 77).all()


def test_z_score():
    image = colour()
    result = apply(ZScore(), image)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, (image - image.astype(np.float64).mean()) / image.astype(np.float64).std(),
                               atol=1e-5)
    grey = apply(ZScore(), three(film()))
    assert (grey[:, :, 0] == grey[:, :, 2]).all()
    assert (apply(ZScore(), np.full((4, 4, 3), 200, np.uint8)) == 0).all()


def test_z_score_through_mmpretrains_preprocessor():
    """With mean 0 and deviation 1 the network sees what the transform made; colours are turned as ever."""
    import torch
    from mmengine.registry import init_default_scope
    from mmpretrain.registry import MODELS
    from mmpretrain.structures import DataSample
    init_default_scope('mmpretrain')
    packed = TRANSFORMS.build(dict(type='mmpretrain.PackInputs'))(dict(img=apply(ZScore(), colour())))
    preprocessor = MODELS.build(dict(type='ClsDataPreprocessor', mean=[0, 0, 0], std=[1, 1, 1], to_rgb=True))
    inputs = preprocessor(dict(inputs=[packed['inputs']], data_samples=[DataSample()]))['inputs']
    assert inputs.dtype == torch.float32
    np.testing.assert_allclose(inputs[0].numpy(), apply(ZScore(), colour())[:, :, ::-1].transpose(2, 0, 1), atol=1e-6)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('scope', ['mmdet', 'mmpretrain'])
def test_in_both_frameworks_on_and_off(name, scope):
    from mmengine.registry import TRANSFORMS as ROOT
    from mmengine.registry import DefaultScope
    with DefaultScope.overwrite_default_scope(scope):
        on, off = (ROOT.build(dict(type=f'cxrdet.{name}', enabled=enabled)) for enabled in (True, False))
    assert (apply(on, colour()) != colour()).any()
    np.testing.assert_array_equal(apply(off, colour()), colour())
    assert 'enabled=False' in repr(off)
    results = on(dict(img=colour(), img_shape=(48, 40), img_path='x'))
    assert results['img'].shape == (48, 40, 3) and results['img_shape'] == (48, 40)


@pytest.mark.parametrize('name', NAMES[:3])
def test_only_8_bit_images(name):
    transform = TRANSFORMS.build(dict(type=f'cxrdet.{name}'))
    with pytest.raises(ConfigError, match=f'{name} .*uint8.* float32'):
        apply(transform, colour().astype(np.float32))
    with pytest.raises(ConfigError, match=r'got uint8 of shape \(4, 4, 4\)'):
        apply(transform, np.zeros((4, 4, 4), np.uint8))


@pytest.mark.parametrize(('call', 'message'), [
    (lambda: CLAHE(0), r'CLAHE: expected clip_limit above 0 and two tile numbers .* got 0 and \(8, 8\)'),
    (lambda: CLAHE(2, (8, 0)), r'got 2 and \(8, 0\)'),
    (lambda: Denoise(-1), 'Denoise: expected strengths above 0 and odd sizes, got -1, 10, 7 and 21'),
    (lambda: Denoise(patch_size=6), 'odd sizes, got 10, 10, 6 and 21'),
    (lambda: Sharpen(-0.1), r'Sharpen: amount must lie in \[0, .* got -0.1'),
])
def test_errors(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
