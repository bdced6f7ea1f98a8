"""Memory layout of convolutional networks."""
import torch
from mmengine.hooks import Hook

from cxrdet.engine.process import unwrap
from cxrdet.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep the model's 4-d weights, and by that its feature maps, in channels-last (NHWC) order.

    The numbers stay the same up to rounding; convolutions get faster on CPUs (oneDNN) and on GPUs with tensor cores,
    most of all together with bfloat16.

    Keep widths at 16 channels or more: on CPUs with AVX-512 but without AMX, the backward pass of a 1x1 convolution
    with stride 2 and 8 or fewer input channels in this order writes beyond its memory and crashes (torch 2.12.1).
    """

    def before_run(self, runner) -> None:
        model = unwrap(runner.model)
        model.to(memory_format=torch.channels_last)
