"""Mixed precision in the format that the hardware computes."""
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper

from cxrdet.core.errors import ConfigError
from cxrdet.engine.process import asked_precision, choose_precision
from cxrdet.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class MixedPrecisionOptimWrapper(OptimWrapper):
    """Run the forward pass and the loss in bfloat16 or float16 where the hardware has it, else in float32.

    Weights and optimizer state stay float32. bfloat16 has the exponent range of float32; for float16 the loss is scaled
    up before the backward pass and the gradients down before the step (Micikevicius et al., Mixed Precision Training,
    ICLR 2018, section 3.2). MMEngine's ``AmpOptimWrapper`` starts on GPUs only, this one everywhere. The log says which
    format was taken and why; a checkpoint of one format is read in any other.

    Args:
        precision: 'auto', 'float32', 'bfloat16' or 'float16', see :mod:`cxrdet.engine.process`. The environment
            variable ``CXRDET_PRECISION`` goes before it.
        loss_scale: for float16: 'dynamic', a fixed number > 0, or a dict of arguments of ``torch.amp.GradScaler``.
        **kwargs: Arguments of :class:`mmengine.optim.OptimWrapper` (optimizer, accumulative_counts, clip_grad, …).

    Attributes:
        precision: the :class:`cxrdet.engine.process.Precision` that was chosen.

    Raises: ConfigError for an unknown precision or loss scale.
    """

    def __init__(self, precision: str = 'auto', *, loss_scale: str | float | dict = 'dynamic', **kwargs) -> None:
        super().__init__(**kwargs)
        self.precision = choose_precision(asked_precision() or precision)
        self.loss_scaler, self._fixed_scale = _scaler(loss_scale, self.precision)
        self.precision.log()

    @contextmanager
    def optim_context(self, model: torch.nn.Module):
        """Enter autocast around ``model``'s forward and loss; gradient accumulation works as in the parent."""
        with super().optim_context(model), self.precision.autocast():
            yield

    def backward(self, loss: torch.Tensor, **kwargs) -> None:
        """Add the gradients of ``loss``, scaled up in float16."""
        super().backward(self.loss_scaler.scale(loss), **kwargs)

    def step(self, **kwargs) -> None:
        """Update the weights; gradients that overflowed in float16 are left out and lower the scale."""
        if self.clip_grad_kwargs:
            self.loss_scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update(self._fixed_scale)

    def state_dict(self) -> dict:
        """The optimizer's state; in float16 with that of the scaler."""
        state = super().state_dict()
        return state | {'loss_scaler': self.loss_scaler.state_dict()} if self.loss_scaler.is_enabled() else state

    def load_state_dict(self, state_dict: dict) -> None:
        """Load a state of any precision: without one of a scaler, a new scaler begins at its first scale."""
        scale = state_dict.pop('loss_scaler', None)
        if scale and self.loss_scaler.is_enabled():
            self.loss_scaler.load_state_dict(scale)
        super().load_state_dict(state_dict)


def _scaler(loss_scale: str | float | dict, precision) -> tuple[torch.amp.GradScaler, float | None]:
    """A scaler that does nothing but in float16, and its scale if that is fixed."""
    enabled = precision.name == 'float16'
    if loss_scale == 'dynamic':
        return torch.amp.GradScaler(precision.device, enabled=enabled), None
    if isinstance(loss_scale, dict):
        return torch.amp.GradScaler(precision.device, **(dict(loss_scale) | {'enabled': enabled})), None
    if isinstance(loss_scale, (int, float)) and not isinstance(loss_scale, bool) and loss_scale > 0:
        return torch.amp.GradScaler(precision.device, init_scale=float(loss_scale), enabled=enabled), float(loss_scale)
    raise ConfigError(f'loss_scale must be "dynamic", a number > 0 or a dict of arguments of torch.amp.GradScaler; got '
                      f'{loss_scale!r}.')
