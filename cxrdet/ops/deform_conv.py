"""Deformable convolution v1 (Dai et al., ICCV 2017) and v2 (Zhu et al., CVPR 2019), as mmcv calls them.

input (B, C, H, W); weight (O, C / groups, kH, kW); offset (B, 2 * G * kH * kW, H', W') as y0, x0, y1, x1, … per
deformable group; mask (B, G * kH * kW, H', W'). mmcv and torchvision agree in all of this, and in the gradients but for
one point of measure zero: for a sample exactly one pixel before the first row or column (as offsets of 0 give it in the
padding) torchvision takes the derivative from the right, mmcv 0. mmcv's buffers (columns, ones) and its ``im2col_step``
concern memory only and are not used; ``layout`` are its other keywords, with the size of the kernel. Results go into
the tensors that mmcv has allocated.

Version 2 in mmcv takes offsets and masks of more places than its output has: the kernel reads the values of each image
in their order (channels, rows, columns) as if they were of the output's size, and leaves the rest. DyHead and its
published weights depend on that, so they are read in the same way here. Offsets of fewer places are refused.
"""
from operator import itemgetter

import torch
import torch.nn.functional as F
from torch import Tensor

from cxrdet.ops.kernels import torchvision_ops, working_dtype

#: From mmcv's keywords to stride, padding and dilation (height, width each), groups and deformable groups.
_V1 = itemgetter('dH', 'dW', 'padH', 'padW', 'dilationH', 'dilationW', 'group', 'deformable_group')
_V2 = itemgetter('stride_h', 'stride_w', 'pad_h', 'pad_w', 'dilation_h', 'dilation_w', 'group', 'deformable_group')


def _forward(input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, bias: Tensor | None,
             geometry: tuple[int, ...]) -> Tensor:
    arguments = _arguments(input, weight, offset, mask, bias)
    return torchvision_ops().deform_conv2d(*arguments, *geometry, mask is not None)


def _backward(grad: Tensor, input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, bias: Tensor | None,
              geometry: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Gradients of input, weight, offset, mask and bias."""
    arguments = _arguments(input, weight, offset, mask, bias)
    grad = grad.to(arguments[0].dtype).contiguous()
    return torchvision_ops()._deform_conv2d_backward(grad, *arguments, *geometry, mask is not None)


def _arguments(input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, bias: Tensor | None) -> list[Tensor]:
    if mask is None:
        mask = input.new_zeros(len(input), 1)
    if bias is None:
        bias = input.new_zeros(len(weight))
    dtype = working_dtype(input)
    return [tensor.to(dtype).contiguous() for tensor in (input, weight, offset, mask, bias)]


def deform_conv_forward(input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor,
                        **layout: int) -> None:
    """Deformable convolution v1 -> output (B, O, H', W')."""
    output.copy_(_forward(input, weight, offset, None, None, _V1(layout)))


def deform_conv_backward_input(input: Tensor, offset: Tensor, gradOutput: Tensor, gradInput: Tensor,
                               gradOffset: Tensor, weight: Tensor, columns: Tensor, **layout: int) -> None:
    """Gradients of :func:`deform_conv_forward` -> gradInput, gradOffset."""
    grad_input, _, grad_offset, _, _ = _backward(gradOutput, input, weight, offset, None, None, _V1(layout))
    gradInput.copy_(grad_input)
    gradOffset.copy_(grad_offset)


def deform_conv_backward_parameters(input: Tensor, offset: Tensor, gradOutput: Tensor, gradWeight: Tensor,
                                    columns: Tensor, ones: Tensor, *, scale: float, **layout: int) -> None:
    """Gradient of :func:`deform_conv_forward` times ``scale``, added to gradWeight."""
    # the gradient of the weight does not depend on the weight: zeros stand for it
    grad_weight = _backward(gradOutput, input, torch.zeros_like(gradWeight), offset, None, None, _V1(layout))[1]
    gradWeight.add_(grad_weight.to(gradWeight.dtype), alpha=scale)


def modulated_deform_conv_forward(input: Tensor, weight: Tensor, bias: Tensor, ones: Tensor, offset: Tensor,
                                  mask: Tensor, output: Tensor, columns: Tensor, *, with_bias: bool,
                                  **layout: int) -> None:
    """Deformable convolution v2 (each sample weighted by ``mask``) -> output (B, O, H', W')."""
    offset, mask = (_of_size(tensor, output.shape[2:]) for tensor in (offset, mask))
    output.copy_(_forward(input, weight, offset, mask, bias if with_bias else None, _V2(layout)))


def modulated_deform_conv_backward(input: Tensor, weight: Tensor, bias: Tensor, ones: Tensor, offset: Tensor,
                                   mask: Tensor, columns: Tensor, grad_input: Tensor, grad_weight: Tensor,
                                   grad_bias: Tensor, grad_offset: Tensor, grad_mask: Tensor, grad_output: Tensor,
                                   *, with_bias: bool, **layout: int) -> None:
    """Gradients of :func:`modulated_deform_conv_forward`, each added to its tensor (all come as zeros from mmcv)."""
    bias = bias if with_bias else None
    offset, mask = (_of_size(tensor, grad_output.shape[2:]) for tensor in (offset, mask))
    gradients = _backward(grad_output, input, weight, offset, mask, bias, _V2(layout))
    targets = (grad_input, grad_weight, grad_offset, grad_mask, grad_bias if with_bias else None)
    for target, gradient in zip(targets, gradients):
        if target is not None:
            target.add_(_filled(gradient, target).to(target.dtype))


def _of_size(tensor: Tensor, size: torch.Size) -> Tensor:
    """The first values of each image of ``tensor`` (B, K, h, w) as (B, K, *size), if there are enough of them."""
    channels, places = tensor.shape[1], size.numel()
    if tensor.shape[2:] == size or tensor.shape[2:].numel() < places:
        return tensor
    return tensor.flatten(1)[:, :channels * places].reshape(-1, channels, *size)


def _filled(gradient: Tensor, target: Tensor) -> Tensor:
    """The gradient of :func:`_of_size`: 0 for the values of each image that were not read."""
    spare = target.numel() - gradient.numel()
    return F.pad(gradient.flatten(1), (0, spare // len(target))).view_as(target) if spare else gradient
