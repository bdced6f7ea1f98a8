"""RoIAlign (He et al., Mask R-CNN, ICCV 2017) and RoIPool (Girshick, Fast R-CNN, ICCV 2015), as mmcv calls them.

input: (B, C, H, W) feature map. rois: (R, 5) batch index and xyxy in image pixels; ``spatial_scale`` maps them to the
feature map. Results are written into the tensors that mmcv has allocated. RoIAlign in float32 on a CPU is computed by
:mod:`cxrdet.ops.roi_align`, the rest by torchvision's kernels.
"""
import torch
from torch import Tensor

from cxrdet.ops import roi_align
from cxrdet.ops.kernels import exact_dtype, torchvision_ops, working_dtype


def roi_align_forward(input: Tensor, rois: Tensor, output: Tensor, argmax_y: Tensor, argmax_x: Tensor,
                      aligned_height: int, aligned_width: int, spatial_scale: float, sampling_ratio: int,
                      pool_mode: int, aligned: bool) -> None:
    """Mean of bilinear samples per bin -> output (R, C, aligned_height, aligned_width).

    Raises: NotImplementedError for ``pool_mode`` 0 (max), which torchvision does not have.
    """
    _only_average(pool_mode)
    dtype = working_dtype(input)
    if dtype == torch.float32 and input.device.type == 'cpu':
        size = aligned_height, aligned_width
        output.copy_(roi_align.roi_align_forward(input, rois, size, spatial_scale, sampling_ratio, aligned))
        return
    output.copy_(torchvision_ops().roi_align(
        input.to(dtype).contiguous(), rois.to(dtype).contiguous(), spatial_scale, aligned_height, aligned_width,
        sampling_ratio, aligned))


def roi_align_backward(grad_output: Tensor, rois: Tensor, argmax_y: Tensor, argmax_x: Tensor, grad_input: Tensor,
                       aligned_height: int, aligned_width: int, spatial_scale: float, sampling_ratio: int,
                       pool_mode: int, aligned: bool) -> None:
    """Gradient of :func:`roi_align_forward` with respect to its input -> grad_input (B, C, H, W)."""
    _only_average(pool_mode)
    dtype = working_dtype(grad_output)
    if dtype == torch.float32 and grad_output.device.type == 'cpu':
        grad_input.copy_(roi_align.roi_align_backward(
            grad_output, rois, grad_input.shape, spatial_scale, sampling_ratio, aligned))
        return
    grad_input.copy_(torchvision_ops()._roi_align_backward(
        grad_output.to(dtype).contiguous(), rois.to(dtype).contiguous(), spatial_scale, aligned_height, aligned_width,
        *grad_input.shape, sampling_ratio, aligned))


def _only_average(pool_mode: int) -> None:
    if pool_mode != 1:
        raise NotImplementedError("RoIAlign with pool_mode='max' is not available without a compiled mmcv: use "
                                  "pool_mode='avg' (the default), or install a compiled mmcv")


def roi_pool_forward(input: Tensor, rois: Tensor, output: Tensor, argmax: Tensor, pooled_height: int,
                     pooled_width: int, spatial_scale: float) -> None:
    """Maximum per bin -> output (R, C, pooled_height, pooled_width) and argmax (same shape, int32, y * W + x).

    mmcv and torchvision cut a box into bins differently: torchvision rounds its corners to whole pixels first, mmcv
    keeps the fraction and counts the right and lower corner as inclusive (x2 + 1). So that models give the numbers of
    a compiled mmcv, the bins are cut here and each goes to torchvision's kernel as a box of its own. Empty bins hold 0
    and argmax -1.
    """
    dtype = exact_dtype(input)
    height, width = input.shape[-2:]
    boxes = rois.to(dtype)
    y1, y2 = _bins(boxes[:, 2] * spatial_scale, (boxes[:, 4] + 1) * spatial_scale, pooled_height, height)
    x1, x2 = _bins(boxes[:, 1] * spatial_scale, (boxes[:, 3] + 1) * spatial_scale, pooled_width, width)
    grid = len(boxes), pooled_height, pooled_width
    columns = (boxes[:, :1, None], x1[:, None, :], y1[:, :, None], x2[:, None, :] - 1, y2[:, :, None] - 1)
    cells = torch.stack([column.expand(grid) for column in columns], dim=-1).reshape(-1, 5).contiguous()
    values, places = torchvision_ops().roi_pool(input.to(dtype).contiguous(), cells, 1.0, 1, 1)
    empty = ((y2 <= y1)[:, :, None] | (x2 <= x1)[:, None, :])[:, None]
    shape = (*grid, input.shape[1])
    output.copy_(values.reshape(shape).permute(0, 3, 1, 2).masked_fill(empty, 0))
    argmax.copy_(places.reshape(shape).permute(0, 3, 1, 2).masked_fill(empty, -1))


def roi_pool_backward(grad_output: Tensor, rois: Tensor, argmax: Tensor, grad_input: Tensor, pooled_height: int,
                      pooled_width: int, spatial_scale: float) -> None:
    """Each bin's gradient goes to the pixel that :func:`roi_pool_forward` took -> grad_input (B, C, H, W)."""
    dtype = exact_dtype(grad_output)
    grad_input.copy_(torchvision_ops()._roi_pool_backward(
        grad_output.to(dtype).contiguous(), rois.to(dtype).contiguous(), argmax.contiguous(), spatial_scale,
        pooled_height, pooled_width, *grad_input.shape))


def _bins(start: Tensor, stop: Tensor, count: int, size: int) -> tuple[Tensor, Tensor]:
    """First and one-past-last pixel (R, count) of the bins of [start, stop), clipped to [0, size)."""
    step = ((stop - start) / count)[:, None]
    index = torch.arange(count, dtype=start.dtype, device=start.device)
    first = torch.floor(index * step + start[:, None]).clamp(0, size)
    last = torch.ceil((index + 1) * step + start[:, None]).clamp(0, size)
    return first, torch.where(step > 0, last, first)
