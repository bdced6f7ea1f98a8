"""Colour spaces."""
import torch
from torch import Tensor

_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_WHITE = (0.950456, 1.0, 1.088754)  # D65, the sums of the rows above
_STEP = 6 / 29


def rgb_to_lab(image: Tensor) -> Tensor:
    """CIE L*a*b* of sRGB images: lightness, green to red, blue to yellow.

    Args:
        image: (..., 3, H, W), RGB, 0 to 255, of any type.

    Returns: (..., 3, H, W) float32: L in 0..100; a, b in about -100..100 and 0 for greys. White point D65.
    Source: CIE 15:2004, section 8.2.1; IEC 61966-2-1 for sRGB.
    Raises: ValueError if the third axis from the end is not of length 3.
    """
    if image.ndim < 3 or image.shape[-3] != 3:
        raise ValueError(f'expected an image of shape (..., 3, H, W), got {tuple(image.shape)}')
    rgb = image.float() / 255
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = torch.einsum('ij,...jhw->...ihw', linear.new_tensor(_TO_XYZ) / linear.new_tensor(_WHITE)[:, None], linear)
    x, y, z = torch.where(xyz > _STEP ** 3, xyz ** (1 / 3), xyz / (3 * _STEP ** 2) + 4 / 29).unbind(-3)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-3)
