"""L*a*b* against OpenCV's, and against values of the CIE's equations done by hand."""
import cv2
import numpy as np
import pytest
import torch

from cxrdet.core.color import rgb_to_lab


def test_equal_to_opencv():
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    image = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(18, -1, 3)
    expected = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    found = rgb_to_lab(torch.from_numpy(image).permute(2, 0, 1)).permute(1, 2, 0)
    np.testing.assert_allclose(found.numpy(), expected, atol=0.35)  # OpenCV interpolates in a table of 33 values a side


@pytest.mark.parametrize(('rgb', 'lab'), [
    ((255, 255, 255), (100, 0, 0)),
    ((0, 0, 0), (0, 0, 0)),
    # y = 0.212671 of the white point, x = 0.412453 / 0.950456 of it, z = 0.019334 / 1.088754 of it
    ((255, 0, 0), (116 * 0.212671 ** (1 / 3) - 16, 500 * (0.433953 ** (1 / 3) - 0.212671 ** (1 / 3)),
                   200 * (0.212671 ** (1 / 3) - 0.017758 ** (1 / 3)))),
    # linear 119 / 255 is ((0.466667 + 0.055) / 1.055) ** 2.4 = 0.184475
    ((119, 119, 119), (116 * 0.184475 ** (1 / 3) - 16, 0, 0)),
    # below both thresholds: linear 2 / 255 / 12.92 = 0.000607, L = 116 * (29 / 6) ** 2 / 3 * 0.000607
    ((2, 2, 2), (0.54835, 0, 0)),
])
def test_equal_to_the_equations(rgb, lab):
    image = torch.tensor(rgb, dtype=torch.uint8).view(1, 3, 1, 1)
    found = rgb_to_lab(image)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.ravel().numpy(), lab, atol=2e-3)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r'expected an image of shape \(..., 3, H, W\), got \(1, 4, 2, 2\)'):
        rgb_to_lab(torch.zeros(1, 4, 2, 2))
