"""Images given to a network as lightness and two colours instead of red, green and blue."""
import torch
from mmpretrain.models.utils.data_preprocessor import ClsDataPreprocessor
from torch import Tensor

from cxrdet.core.color import rgb_to_lab
from cxrdet.core.errors import ConfigError
from cxrdet.registry import MODELS


@MODELS.register_module()
class LabDataPreprocessor(ClsDataPreprocessor):
    """MMPretrain's ClsDataPreprocessor for networks that see L*a*b* (CIE 1976, D65).

    In pictures of stained cells red, green and blue go up and down together, and a small difference between them tells
    one stain from another; normalised L, a and b make it as large as light and dark are. Images stay BGR, 0 to 255, as
    far as here. Weights that were trained on RGB need RGB.

    Args:
        mean, std: of L (0..100), a and b (about -100..100) over the training images.
        **kwargs: of ClsDataPreprocessor, but for ``to_rgb``.

    Raises: ConfigError for ``to_rgb`` and for images that have not three channels.
    """

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float], **kwargs) -> None:
        if kwargs.pop('to_rgb', False):
            raise ConfigError('LabDataPreprocessor turns BGR into L*a*b*: leave to_rgb out.')
        super().__init__(mean=mean, std=std, **kwargs)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Inputs (N, 3, H, W), or N of (3, H, W), BGR, become (N, 3, H, W) float32: L, a, b, normalised."""
        inputs = self.cast_data(data['inputs'])
        lab = _lab(inputs) if isinstance(inputs, Tensor) else [_lab(image) for image in inputs]
        return super().forward({**data, 'inputs': lab}, training)


def _lab(image: Tensor) -> Tensor:
    if image.shape[-3] != 3:
        raise ConfigError(f'LabDataPreprocessor: expected images of three channels, got {image.shape[-3]}.')
    with torch.autocast(image.device.type, enabled=False):
        return rgb_to_lab(image.flip(-3))
