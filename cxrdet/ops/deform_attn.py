"""Multi-scale deformable attention (Zhu et al., Deformable DETR, ICLR 2021, equation 3), as mmcv calls it.

torchvision has no kernel for it, so it is bilinear sampling by ``grid_sample``; gradients come from autograd.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

from cxrdet.ops.kernels import exact_dtype, put_gradients


def ms_deform_attn_forward(value: Tensor, value_spatial_shapes: Tensor, value_level_start_index: Tensor,
                           sampling_locations: Tensor, attention_weights: Tensor, im2col_step: int) -> Tensor:
    """Weighted sum of samples from all levels.

    Args:
        value: (B, sum of H_l * W_l, M heads, D).
        value_spatial_shapes: (L, 2) int64, H_l and W_l.
        value_level_start_index: (L,) int64, where each level begins in ``value``.
        sampling_locations: (B, Q, M, L, P, 2), x and y in [0, 1] over the level; outside the values are 0.
        attention_weights: (B, Q, M, L, P).
        im2col_step: concerns memory in mmcv's kernel; not used.

    Returns: (B, Q, M * D) in the precision of ``value``; computed in float32 at least.
    """
    dtype = exact_dtype(value)
    with torch.autocast(value.device.type, enabled=False):
        output = _attend(value.to(dtype), value_spatial_shapes.tolist(), value_level_start_index.tolist(),
                         sampling_locations.to(dtype), attention_weights.to(dtype))
    return output.to(value.dtype)


def ms_deform_attn_backward(value: Tensor, value_spatial_shapes: Tensor, value_level_start_index: Tensor,
                            sampling_locations: Tensor, attention_weights: Tensor, grad_output: Tensor,
                            grad_value: Tensor, grad_sampling_loc: Tensor, grad_attn_weight: Tensor,
                            im2col_step: int) -> None:
    """Gradients of :func:`ms_deform_attn_forward` -> grad_value, grad_sampling_loc, grad_attn_weight."""
    shapes, starts = value_spatial_shapes.tolist(), value_level_start_index.tolist()
    put_gradients((grad_value, grad_sampling_loc, grad_attn_weight),
                  lambda features, places, weights: _attend(features, shapes, starts, places, weights),
                  (value, sampling_locations, attention_weights), grad_output)


def _attend(value: Tensor, shapes: list[list[int]], starts: list[int], locations: Tensor, weights: Tensor) -> Tensor:
    batch, _, heads, channels = value.shape
    queries = locations.shape[1]
    output = value.new_zeros(batch * heads, channels, queries)
    for level, ((height, width), start) in enumerate(zip(shapes, starts)):
        plane = value[:, start:start + height * width].permute(0, 2, 3, 1)
        grid = 2 * locations[:, :, :, level].transpose(1, 2) - 1
        samples = F.grid_sample(plane.reshape(batch * heads, channels, height, width), grid.flatten(0, 1),
                                mode='bilinear', padding_mode='zeros', align_corners=False)
        level_weights = weights[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None]
        output = output + (samples * level_weights).sum(-1)
    return output.view(batch, heads * channels, queries).transpose(1, 2).contiguous()
