"""The likely cause of boxes that cannot be used."""
from collections import Counter

import numpy as np
import pytest

from cxrdet.core.detection.box_layout import likely_cause, no_boxes_text

HEIGHT, WIDTH = 400, 640
RNG = np.random.default_rng(0)
LOW = RNG.random((50, 2)) * (0.7 * WIDTH, 0.7 * HEIGHT)
SIDES = 20 + RNG.random((50, 2)) * 100
XYWH, XYXY = np.hstack([LOW, SIDES]), np.hstack([LOW, LOW + SIDES])
SCALE = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])


@pytest.mark.parametrize('corners', [False, True])
@pytest.mark.parametrize('mistake, words, certain', [
    (lambda right: right, '', False),
    (lambda right: right / SCALE, 'they look normalised; multiply', True),
    (lambda right: right / SCALE * [1, 1, 1, 1] + [0, 0, 0, 1e-3], 'look normalised', True),
    (lambda right: np.where(np.arange(50)[:, None] < 30, right / SCALE, right), '30 of 50 boxes are less than', False),
    (lambda right: right + np.where((right[:, 2:] > right[:, :2]).all(), [5000, 0, 5000, 0], [5000, 0, 0, 0]),
     'lie outside of their images', False),
    (lambda right: right * np.nan, 'are not finite', False)])
def test_mistakes(corners, mistake, words, certain):
    text, sure = likely_cause(mistake(XYXY if corners else XYWH), [(HEIGHT, WIDTH)] * 50, corners=corners)
    assert words in text and bool(text) == bool(words) and sure is certain


@pytest.mark.parametrize('values, corners, words', [
    (np.hstack([XYXY[:, 2:], -SIDES]), False, '50 of 50 boxes have a negative width or height'),
    (XYXY[:, [2, 3, 0, 1]], True, 'xmax below xmin'), (XYXY[:, [2, 1, 0, 3]], True, 'xmax below xmin'),
    (np.hstack([LOW + 200, SIDES]), True, 'xmax and ymax hold a width and a height'),
    (np.hstack([LOW, np.zeros((50, 2))]), False, 'less than a pixel wide or high'),
    (XYXY, False, '50 of 50 boxes look like two corners')])
def test_mistakes_of_a_layout(values, corners, words):
    assert words in likely_cause(values, [(HEIGHT, WIDTH)] * len(values), corners=corners)[0]


@pytest.mark.parametrize('values', [
    [[1, 1, WIDTH, HEIGHT]] * 9,                      # whole images, counted from 1
    [[0, 0, WIDTH, HEIGHT]] * 9, XYXY[:3],            # too few to tell
    np.vstack([XYXY[:9], [[300, 300, 20, 20]]]),      # one that cannot be corners
    [[2, 2, 20, 30]] * 9])                            # small, in the upper left corner
def test_what_may_be_right(values):
    assert likely_cause(values, [(HEIGHT, WIDTH)] * len(values), corners=False) == ('', False)


def test_a_normalised_box_of_the_whole_image_is_no_box_of_one_pixel():
    text, sure = likely_cause([[0, 0, 1, 1], [0.1, 0.1, 0.5, 0.5]], [(HEIGHT, WIDTH)] * 2, corners=False)
    assert text.startswith('1 of 2 boxes') and sure
    assert likely_cause(np.zeros((0, 4)), np.zeros((0, 2)), corners=True) == ('', False)


def test_text():
    assert no_boxes_text(3, Counter(), training=True) == (
        '3 images without a box to learn from: the annotations hold no box.')
    assert no_boxes_text(3, Counter(degenerate=2, outside=1), 'Why.', training=False) == (
        '3 images without a box to judge by: none of its 3 boxes can be used (2 degenerate, 1 outside). Why.')
