"""The picture of a confusion matrix."""
import warnings

import numpy as np
import pytest

from cxrdet.visualization.confusion import draw_confusion


def names(count):
    return [f'class {i}' for i in range(count)]


def test_picture_grows_with_the_classes():
    shapes = [draw_confusion(np.eye(count, dtype=int) * 5, names(count)).shape for count in (1, 3, 30)]
    assert all(shape[2] == 3 for shape in shapes)
    assert shapes[0][0] <= shapes[1][0] < shapes[2][0]
    assert min(shapes[2][:2]) >= 1200  # 30 cells of 42 px


def test_picture_of_a_thousand_classes_stays_small():
    """ImageNet's: no more pixels than 99 classes of 42 px have; the diagonal is still seen."""
    picture = draw_confusion(np.eye(1000, dtype=int) * 5, names(1000))
    assert max(picture.shape) < 99 * 42
    light = draw_confusion(np.zeros((1000, 1000), int), names(1000))
    assert picture.shape[2] == 3 and (picture.astype(int).sum(axis=2) < 500).sum() > (
        light.astype(int).sum(axis=2) < 500).sum()


def test_shares_of_the_row_give_the_colour():
    """A class of 4 images found whole is as dark as one of 400; numbers differ only in their digits."""
    small, large = (draw_confusion(np.diag([number, number, number]), names(3)) for number in (4, 5))
    assert small.shape == large.shape
    dark = [(image.astype(int).sum(axis=2) < 260).mean() for image in (small, large)]
    assert dark[0] == pytest.approx(dark[1], rel=0.05)
    light = draw_confusion(np.full((3, 3), 4), names(3))
    assert (light.astype(int).sum(axis=2) < 260).mean() < dark[0] / 2


def test_class_without_images_is_hatched():
    full, hollow = (draw_confusion(np.diag([4, 4, last]), names(3)) for last in (4, 0))
    assert full.shape == hollow.shape
    assert (full != hollow).any()


def test_names_are_drawn_as_they_stand():
    """Dollar signs begin no formula, and control characters are written out: no glyph is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        picture = draw_confusion(np.eye(2, dtype=int), [r'$\frac{', 'a$b$'], title='\x1b[31m\n')
        plain = draw_confusion(np.eye(2, dtype=int), ['xxxxxxxx', 'a$b$'], title='title')
    assert picture.shape == plain.shape and (picture != plain).any()


def test_bad_input():
    with pytest.raises(ValueError, match=r'expected a \(2, 2\) matrix for 2 class names, got shape \(3, 3\)'):
        draw_confusion(np.eye(3), names(2))
    with pytest.raises(ValueError, match='expected a'):
        draw_confusion(np.zeros((0, 0)), [])
