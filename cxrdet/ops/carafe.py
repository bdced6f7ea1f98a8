"""Content-aware reassembly of features (Wang et al., CARAFE, ICCV 2019, equation 4), as mmcv calls it.

features: (B, C, H, W). masks: (B, G * K * K, s * H, s * W), the kernel of each output pixel and of each of G groups of
channels, rows first; K odd. An output pixel (y, x) is the sum of its kernel times the K x K features around
(y // s, x // s); outside, features are 0. Results go into the tensors that mmcv has allocated. Computed in float32 at
least, one kernel element at a time, for the sake of memory.
"""
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from cxrdet.ops.kernels import exact_dtype


def carafe_naive_forward(features: Tensor, masks: Tensor, output: Tensor, kernel_size: int, group_size: int,
                         scale_factor: int) -> None:
    """Features enlarged ``scale_factor`` times -> output (B, C, s * H, s * W)."""
    dtype = exact_dtype(features)
    kernels = _blocks(masks.to(dtype), kernel_size * kernel_size, scale_factor)
    total = _blocks(torch.zeros_like(output, dtype=dtype), features.shape[1] // group_size, scale_factor)
    for k, window in enumerate(_windows(_padded(features.to(dtype), kernel_size), kernel_size, group_size)):
        total.addcmul_(window[..., None, :, None], kernels[:, :, k, None])
    output.copy_(total.reshape(output.shape))


def carafe_naive_backward(top_grad: Tensor, features: Tensor, masks: Tensor, bottom_grad: Tensor, mask_grad: Tensor,
                          kernel_size: int, group_size: int, scale_factor: int) -> None:
    """Gradients of :func:`carafe_naive_forward`, added to bottom_grad (B, C, H, W) and mask_grad (as masks)."""
    dtype, pad = exact_dtype(features), kernel_size // 2
    grad = _blocks(top_grad.to(dtype), features.shape[1] // group_size, scale_factor)
    kernels = _blocks(masks.to(dtype), kernel_size * kernel_size, scale_factor)
    padded, grad_kernels = _padded(features.to(dtype), kernel_size), torch.empty_like(kernels)
    grad_padded = torch.zeros_like(padded)
    windows = zip(*(_windows(tensor, kernel_size, group_size) for tensor in (padded, grad_padded)))
    for k, (window, grad_window) in enumerate(windows):
        grad_kernels[:, :, k] = (grad * window[..., None, :, None]).sum(2)
        grad_window += (grad * kernels[:, :, k, None]).sum((4, 6))
    bottom_grad.add_(grad_padded[:, :, pad:-pad or None, pad:-pad or None].to(bottom_grad.dtype))
    mask_grad.add_(grad_kernels.reshape(masks.shape).to(mask_grad.dtype))


def carafe_forward(features: Tensor, masks: Tensor, rfeatures: Tensor, routput: Tensor, rmasks: Tensor, output: Tensor,
                   kernel_size: int, group_size: int, scale_factor: int) -> None:
    """As :func:`carafe_naive_forward`; ``rfeatures``, mmcv's buffer for the backward pass, becomes a copy of features.

    mmcv's other buffers (routput, rmasks and those of the backward pass) serve its memory layout and are not used.
    """
    rfeatures.copy_(features)
    carafe_naive_forward(features, masks, output, kernel_size, group_size, scale_factor)


def carafe_backward(top_grad: Tensor, rfeatures: Tensor, masks: Tensor, rtop_grad: Tensor, rbottom_grad_hs: Tensor,
                    rbottom_grad: Tensor, rmask_grad: Tensor, bottom_grad: Tensor, mask_grad: Tensor,
                    kernel_size: int, group_size: int, scale_factor: int) -> None:
    """Gradients of :func:`carafe_forward` -> bottom_grad (B, C, H, W) and mask_grad (as masks), both given as zeros."""
    carafe_naive_backward(top_grad, rfeatures, masks, bottom_grad, mask_grad, kernel_size, group_size, scale_factor)


def _blocks(tensor: Tensor, channels: int, scale: int) -> Tensor:
    """(B, G * channels, s * H, s * W) as (B, G, channels, H, s, W, s): the s x s output pixels of each input pixel."""
    batch, _, height, width = tensor.shape
    return tensor.reshape(batch, -1, channels, height // scale, scale, width // scale, scale)


def _padded(features: Tensor, kernel_size: int) -> Tensor:
    return F.pad(features, (kernel_size // 2,) * 4)


def _windows(padded: Tensor, kernel_size: int, groups: int) -> Iterator[Tensor]:
    """The K * K views (B, G, C / G, H, W) of padded features, one for each place of the kernel, rows first."""
    grouped = padded.unflatten(1, (groups, -1))
    height, width = (n - kernel_size + 1 for n in padded.shape[2:])
    for y in range(kernel_size):
        for x in range(kernel_size):
            yield grouped[..., y:y + height, x:x + width]
