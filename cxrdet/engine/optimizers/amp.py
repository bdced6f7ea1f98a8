"""Mixed precision in bfloat16, on any device that has it."""
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper

from cxrdet.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Run the forward pass and the loss under bfloat16 autocast; weights and optimizer state stay float32.

    bfloat16 has the exponent range of float32, so no loss scaling is needed, and it runs on CPUs, where MMEngine's
    ``AmpOptimWrapper`` (float16 with a gradient scaler) refuses to start. ``tools/train.py --amp`` takes this one where
    there is no GPU.

    Args:
        **kwargs: Arguments of :class:`mmengine.optim.OptimWrapper` (optimizer, accumulative_counts, clip_grad, …).
    """

    @contextmanager
    def optim_context(self, model: torch.nn.Module):
        """Enter autocast around ``model``'s forward and loss; gradient accumulation works as in the parent."""
        device = get_device()
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield
