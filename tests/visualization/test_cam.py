"""Heat maps over images, by hand."""
import cv2
import numpy as np
import pytest

from cxrdet.visualization.cam import cam_sheet, overlay_heat


def test_cold_places_show_the_image():
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    heat = np.zeros((4, 6), np.float32)
    heat[0, 0] = 1
    picture = overlay_heat(image, heat)
    assert picture.shape == image.shape and picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[20:], image[20:])
    assert np.abs(picture[:10, :10].astype(int) - image[:10, :10]).mean() > 20
    np.testing.assert_array_equal(overlay_heat(image, np.zeros((1, 1))), image)


def test_the_hottest_place_by_hand():
    hot = cv2.applyColorMap(np.array([[255]], np.uint8), cv2.COLORMAP_PLASMA)[0, 0]
    picture = overlay_heat(np.full((2, 2), 100, np.uint8), np.ones((2, 2)))
    np.testing.assert_array_equal(picture[1, 1], np.round(40 + 0.6 * hot.astype(float)))
    grey = overlay_heat(np.full((2, 2, 1), 100, np.uint8), np.ones((2, 2)))
    np.testing.assert_array_equal(grey, picture)


def test_sheet():
    image = np.full((100, 50), 90, np.uint8)
    sheet = cam_sheet(image, [np.ones((3, 3)), np.zeros((3, 3))], ['Mass 0.90', 'Edema 0.10'], size=200)
    assert sheet.shape[1] > 3 * 100 and 200 < sheet.shape[0] < 260
    assert cam_sheet(image, [], [], size=200).shape[1] < 120


@pytest.mark.parametrize(('call', 'message'), [
    (lambda: overlay_heat(np.zeros((2, 2)), np.zeros((2, 2))), r'uint8, got \(2, 2\), float64'),
    (lambda: overlay_heat(np.zeros((0, 2), np.uint8), np.zeros((2, 2))), r'got \(0, 2\)'),
    (lambda: overlay_heat(np.zeros((2, 2), np.uint8), np.full((2, 2), 2)), r'within \[0, 1\], got shape \(2, 2\)'),
    (lambda: overlay_heat(np.zeros((2, 2), np.uint8), np.zeros(2)), r'got shape \(2,\)'),
    (lambda: cam_sheet(np.zeros((2, 2), np.uint8), [np.zeros((2, 2))], []), 'one title a heat map, got 0 for 1'),
])
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
