"""Panels of a fixed size; boxes go where the image goes."""
import numpy as np
import pytest

from cxrdet.visualization.boxes import PALETTE, STATES
from cxrdet.visualization.prediction_panel import classification_panel, detection_panel, fit_square

GREY = np.full((60, 120, 3), 128, np.uint8)


def near(picture, color):
    return np.abs(picture.astype(int) - color).max(axis=2) < 12


def test_fit_square():
    canvas, scale, corner = fit_square(GREY[:, :, 0], 240)
    assert canvas.shape == (240, 240, 3) and scale == 2 and corner == (0, 60)
    assert (canvas[:60] == 255).all() and (canvas[60:180] == 128).all() and (canvas[180:] == 255).all()


def test_boxes_go_with_the_image_and_states_have_their_colours():
    found, missed = [10, 10, 40, 50], [60, 10, 90, 50]
    prediction = dict(boxes=[found, [95, 5, 118, 25]], scores=[0.9, 0.8], labels=[0, 0])
    panel = detection_panel(GREY, prediction, dict(boxes=[found, missed], labels=[0, 0]), ['cell'], size=480)
    half = panel[:480 + 16, panel.shape[1] // 2:]
    for state, box in (('found', found), ('missed', missed), ('false alarm', [95, 5, 118, 25])):
        rows, columns = np.nonzero(near(half, STATES[state].color))
        expected = 4 + 4 * np.array(box) + [0, 120, 0, 120]  # white gap of 4 pixels, scale 4, centred
        assert abs(columns.min() - expected[0]) <= 6 and abs(rows.max() - expected[3]) <= 6, state
    assert panel.shape == detection_panel(GREY.transpose(1, 0, 2), prediction, dict(boxes=[], labels=[]), ['cell'],
                                          size=480).shape


def test_classes():
    panel = classification_panel(GREY, [1, 0, np.nan], [0.9, 0.6, 0.2], ['Mass', 'Hernia', 'x' * 200], size=240)
    assert panel.shape == (240, 480, 3)
    right = panel[:, 240:]
    solid, hollow = near(right, PALETTE[2]), near(right, PALETTE[1])
    assert solid.sum() > 3 * hollow.sum() > 0
    assert abs(np.nonzero(solid)[1].max() - (10 + 0.9 * 220)) <= 2
    assert (right[:, -2:] == 255).all()  # long names shrink
    with pytest.raises(ValueError, match='for each of 2 classes, got 1 and 2'):
        classification_panel(GREY, [1], [0.5, 0.5], ['a', 'b'])
