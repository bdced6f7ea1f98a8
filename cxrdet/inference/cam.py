"""Grad-CAM of classifiers by the package grad-cam: where in the image the score of a class comes from.

Source: R. R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization",
ICCV 2017. Each map is stretched to [0, 1] by itself: colours say where, not how much, and cannot be compared between
images or classes.
"""
import importlib.util
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from cxrdet.core.errors import ConfigError, did_you_mean


class CamChoice(NamedTuple):
    """What to draw by Grad-CAM.

    Attributes:
        classes: names of the classes to draw in every image. None: those found in it, or else the most probable one.
        layer: path of the layer in the model, e.g. ``backbone.layer3``. None: chosen by :func:`default_layer`.
    """

    classes: tuple[str, ...] | None = None
    layer: str | None = None


class GradCam:
    """Grad-CAM of a classifier of MMPretrain's kind (``model(inputs, mode='tensor')`` gives logits, (N, C)).

    Args:
        model: ready to predict.
        layer: path of the layer whose output is weighted; by default :func:`default_layer`'s.

    Raises: ConfigError if grad-cam is not installed, or the model has no such layer.
    """

    def __init__(self, model: nn.Module, layer: str | None = None) -> None:
        check_installed()
        self.model, self.layer = model, layer
        if layer is not None:
            names = dict(model.named_modules())
            if layer not in names:
                raise ConfigError(f'The model has no layer "{layer}".{did_you_mean(layer, names)} Its parts are: '
                                  f'{", ".join(name for name in names if name.count(".") == 1)}')

    def __call__(self, inputs: torch.Tensor, labels: Sequence[int]) -> np.ndarray:
        """The maps of some classes in one image, (K, H, W) float32 in [0, 1]; all 0 if nothing supports the class.

        Args:
            inputs: (1, 3, H, W), as the data preprocessor gives it to the model.
            labels: K numbers of classes.

        Raises: ConfigError if the layer's output has no positions, or the scores do not depend on it.
        """
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
        if not len(labels):
            return np.zeros((0, *inputs.shape[2:]), np.float32)
        if self.layer is None:
            self.layer = default_layer(self.model, inputs)
        with torch.enable_grad():
            batch = inputs.detach().repeat(len(labels), 1, 1, 1).requires_grad_()  # also where all weights are frozen
            cam = GradCAM(_Logits(self.model), [self.model.get_submodule(self.layer)],
                          reshape_transform=lambda output: self._as_map(output, batch.shape))
            try:
                maps = cam(batch, [ClassifierOutputTarget(int(label)) for label in labels])
            except AttributeError as error:
                if cam.activations_and_grads.gradients:
                    raise
                raise ConfigError(f'The scores do not depend on the output of layer "{self.layer}" alone: take one on '
                                  'the way from the image to the scores, e.g. a stage of the backbone') from error
            finally:
                cam.activations_and_grads.release()
                self.model.zero_grad(set_to_none=True)
        return maps.astype(np.float32)

    def _as_map(self, output: torch.Tensor, image: Sequence[int]) -> torch.Tensor:
        grid = _grid(output, image)
        if grid is None:
            shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            raise ConfigError(f'The output of layer "{self.layer}", {shape}, has no positions in the image: take a '
                              'layer before the pooling')
        if output.ndim == 4:
            return output.clone()  # an activation behind it may work in place
        tokens = output[:, -grid[0] * grid[1]:].transpose(1, 2)  # without the class token, which stands first
        return tokens.reshape(len(output), -1, *grid)


class _Logits(nn.Module):
    """The model as a function from images to logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        logits = self.model(inputs, mode='tensor')
        return logits[-1] if isinstance(logits, (tuple, list)) else logits


def check_installed() -> None:
    """Raise ConfigError if the package grad-cam is missing."""
    if importlib.util.find_spec('pytorch_grad_cam') is None:
        raise ConfigError('Grad-CAM pictures need the package grad-cam, which is not installed: '
                          'pip install "cxrdet[cam]", or pip install grad-cam')


@torch.no_grad()
def default_layer(model: nn.Module, inputs: torch.Tensor) -> str:
    """Path of the layer of the backbone that Grad-CAM looks at: the last part whose output has positions in the
    image, or, for transformers with a class token, whose last patches reach no score, the norm before the last
    attention.

    Args:
        model: with a part ``backbone``.
        inputs: (N, 3, H, W), as the model takes them.

    Raises: ConfigError if no output of the backbone has positions.
    """
    backbone, ended, started = getattr(model, 'backbone', model), [], []
    prefix = 'backbone.' if backbone is not model else ''
    handles = []
    for name, module in backbone.named_modules():
        if name:
            handles.append(module.register_forward_pre_hook(lambda part, _, n=name: started.append((n, len(ended)))))
            handles.append(module.register_forward_hook(
                lambda part, _, out, n=name: ended.append((n, part, _grid(out, inputs.shape)))))
    try:
        backbone(inputs)
    finally:
        for handle in handles:
            handle.remove()
    stop = len(ended)
    if any(name.rpartition('.')[2] == 'cls_token' for name, _ in backbone.named_parameters()):
        stop = max((count for name, count in started if type(
            backbone.get_submodule(name)).__name__.lower().endswith(('attention', 'msa'))), default=stop)
    found = [name for name, part, grid in ended[:stop] if grid is not None and grid != (1, 1)]
    if not found:
        raise ConfigError(f'Grad-CAM needs a layer whose output has positions in the image; the backbone '
                          f'{type(backbone).__name__} has none. Name one with --cam-layer')
    return prefix + found[-1]


def _grid(output, image: Sequence[int]) -> tuple[int, int] | None:
    """Rows and columns of an output (N, C, h, w) or of tokens (N, [class token +] h * w, C); None for any other."""
    if not isinstance(output, torch.Tensor) or output.ndim not in (3, 4) or len(output) != image[0]:
        return None  # windows of a shifted-window transformer are more than images
    if output.ndim == 4:
        return tuple(output.shape[2:])
    height, width = image[-2:]
    for extra in (0, 1, 2):
        count = output.shape[1] - extra
        rows = round((max(count, 0) * height / width) ** 0.5)
        if rows and count % rows == 0 and abs(rows * width - count // rows * height) < max(height, width):
            return rows, count // rows
    return None
